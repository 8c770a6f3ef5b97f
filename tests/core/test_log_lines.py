"""The log's format: one record, one line; who sends a name does not write log lines."""

import io
import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.log_lines import INDENT, LONGEST_LINE, MOST_TRACE_LINES, LineFormatter, log_to

FORGED = "x\n2026-01-01 00:00:00,000 WARNING meshloom: the key of 10.0.0.1 was accepted\r\x1b[2K\u202e"


@pytest.fixture
def log():
    stream = io.StringIO()
    handler = log_to(logging.StreamHandler(stream))
    logger = logging.Logger("meshloom_test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    return logger, stream


def test_a_line_break_in_an_argument_begins_no_line(log):
    logger, stream = log
    logger.warning("peer %s came", FORGED)
    assert stream.getvalue().count("\n") == 1
    assert "\\n2026-01-01" in stream.getvalue()
    assert not set(stream.getvalue()) & set("\r\x1b\u202e")


def test_a_stack_trace_keeps_its_lines_and_each_is_indented_and_escaped(log):
    logger, stream = log
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("could not take %r", FORGED)
    first, *trace = stream.getvalue().splitlines()
    assert "could not take" in first
    assert len(trace) > 3
    assert all(line.startswith(INDENT) for line in trace)
    assert "raise ValueError(FORGED)" in stream.getvalue()
    assert not set(stream.getvalue()) & set("\r\x1b\u202e")


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """A file that systemd reads, as its variable says; returns a way to log there, and to read it."""
    file = (tmp_path / "journal").open("w+")
    found = os.fstat(file.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    logger = logging.Logger("meshloom_test")  # noqa: LOG001 - of this test alone
    logger.addHandler(log_to(logging.StreamHandler(file)))
    yield logger, file
    file.close()


def test_the_journal_gets_priorities_and_no_second_time_stamp(journal):
    logger, file = journal
    for number, level in enumerate((logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)):
        logger.log(level, "number %d", number)
    file.seek(0)
    assert file.read().splitlines() == [
        "<7>DEBUG meshloom_test: number 0",
        "<6>INFO meshloom_test: number 1",
        "<4>WARNING meshloom_test: number 2",
        "<3>ERROR meshloom_test: number 3",
        "<2>CRITICAL meshloom_test: number 4",
    ]


def test_each_line_of_a_trace_has_the_priority_of_its_record_in_the_journal(journal):
    logger, file = journal
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("failed")
    file.seek(0)
    lines = file.read().splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_what_is_not_the_journal_keeps_its_time_stamps(journal, log):
    logger, stream = log
    logger.warning("here")
    assert stream.getvalue()[:4].isdecimal()


def test_a_trace_that_another_handler_kept_is_escaped_too(log):
    logger, stream = log
    record = logger.makeRecord("x", logging.ERROR, "x.py", 1, "failed", (), None)
    record.exc_text = f"Traceback\n{FORGED}"
    logger.handle(record)
    assert all(line.startswith(INDENT) for line in stream.getvalue().splitlines()[1:])
    assert "\x1b" not in stream.getvalue()


def test_a_record_is_bounded_whatever_it_quotes(log):
    logger, stream = log
    try:
        raise ValueError("a\n" * 100_000 + "b" * (1 << 20))
    except ValueError:
        logger.exception("%s", "c" * (1 << 20))
    assert len(stream.getvalue()) < (MOST_TRACE_LINES + 2) * (LONGEST_LINE + len(INDENT) + 1)
    assert len(stream.getvalue().splitlines()) <= MOST_TRACE_LINES + 2


def test_a_call_stack_is_indented(log):
    logger, stream = log
    logger.warning("here", stack_info=True)
    assert all(line.startswith(INDENT) for line in stream.getvalue().splitlines()[1:])


@given(st.text(st.characters(exclude_categories=())))
def test_any_argument_gives_one_printable_line(said):
    record = logging.LogRecord(said, logging.INFO, "x.py", 1, "heard %s", (said,), None)
    assert LineFormatter().format(record).isprintable()
