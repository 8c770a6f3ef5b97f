"""What programs print: visible characters, one line for each argument, on a terminal of any encoding."""

import io
import sys

import pytest

from meshloom.errors import ConfigError
from meshloom.terminal import say, say_error, show_crash
from meshloom.text import json_text


def test_each_argument_is_one_line(capsys):
    say("a\nb", "c\x1b[2J")
    say("\u202e", error=True)
    assert capsys.readouterr() == ("a\\nb\nc\\x1b[2J\n", "\\u202e\n")


def test_an_error_quotes_what_it_was_given_and_stays_on_its_line(capsys):
    say_error(ConfigError("a = 'x\ny': wrong", "b: wrong", source="file"))
    say_error(ValueError("\r" + "x" * 100_000))
    printed = capsys.readouterr().err.split("\n")
    assert printed[:2] == ["error: file: a = 'x\\ny': wrong", "file: b: wrong"]
    assert len(printed) == 4
    assert len(printed[2]) <= 16 << 10


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_cannot_show_a_character_shows_its_escape(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    say("東京 \ud800")
    assert raw.getvalue().decode(encoding) == ("東京 \\ud800\n" if encoding == "utf-8" else "\\u6771\\u4eac \\ud800\n")


def test_an_error_that_nobody_caught_is_indented_and_printable(capsys):
    try:
        raise ValueError("x\nforged\x1b")
    except ValueError as error:
        show_crash(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert "ValueError" in printed
    assert all(line.startswith("    ") and line.isprintable() for line in printed.rstrip("\n").split("\n"))


def test_json_is_printable_and_says_the_same():
    assert json_text({"a": "\x7f\x9b\u202e\n"}) == '{"a":"\\u007f\\u009b\\u202e\\n"}'
