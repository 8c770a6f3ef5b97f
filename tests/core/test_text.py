"""Others' words as a person sees them: no character that moves, hides, reorders or breaks anything."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshloom.text import LONGEST, printable, printable_lines

# Everything that Python knows as a character, halves of surrogate pairs included.
ANY = st.text(st.characters(exclude_categories=()), max_size=200)
NASTY = st.text(
    st.sampled_from("\x00\x07\x08\t\n\r\x1b\x7f\x85\x9b\u061c\u200b\u200d\u200e\u2028\u2029\u202e\u2066a\\é")
)
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain name", "plain name"),
        ("Zoë 東京 🙂", "Zoë 東京 🙂"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x9b31m red", r"\x9b31m red"),
        ("abc\u202egpj.exe", r"abc\u202egpj.exe"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("no\u200bbreak\u2028line\u2029", r"no\u200bbreak\u2028line\u2029"),
        ("half \ud800", r"half \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("private \ue000 and none \u0378", r"private \ue000 and none \u0378"),
        ("filler \u3164, selector \ufe0f, blank \u2800", r"filler \u3164, selector \ufe0f, blank \u2800"),
        ("a wide\u00a0blank", r"a wide\xa0blank"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_what_a_reader_could_not_see_becomes_a_visible_escape(said, shown):
    assert printable(said) == shown


@given(ANY | NASTY, st.integers(1, 300))
@example("\x1b" * 100, 10)
def test_nothing_hidden_comes_through_and_the_length_is_bounded(said, longest):
    shown = printable(said, longest)
    assert len(shown) <= longest
    assert shown.isprintable()
    assert not {unicodedata.category(each) for each in shown} & HIDDEN
    shown.encode()  # a lone surrogate could not be written anywhere


@given(ANY | NASTY, st.integers(1, 300))
def test_a_second_pass_changes_nothing(said, longest):
    shown = printable(said, longest)
    assert printable(shown, longest) == shown


@given(st.text(st.characters(categories=("L", "N", "P", "S"), max_codepoint=0x24F), max_size=LONGEST))
def test_ordinary_text_stays_as_it_is(said):
    assert printable(said) == said


def test_a_long_text_is_cut_between_escapes_and_says_so():
    assert printable("abcdefgh", 5) == "abcd…"
    assert printable("ab\x1b\x1b", 8) == r"ab\x1b…"
    assert printable("x" * (1 << 20)) == "x" * (LONGEST - 1) + "…"


@given(ANY | NASTY)
def test_of_several_lines_only_the_line_feed_stays(said):
    shown = printable_lines(said, 1 << 16)
    assert shown.count("\n") == said.count("\n")
    assert shown.replace("\n", "").isprintable()
