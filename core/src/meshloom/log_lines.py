"""The format of all programs' logs: one record is one line, whatever others wrote into its arguments."""

import io
import logging
import os
import traceback
from collections.abc import Mapping
from types import TracebackType

from meshloom.text import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JOURNAL_FORMAT = "%(levelname)s %(name)s: %(message)s"
"""The journal has a time stamp of its own for each line."""
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""Levels, and what the journal calls them (sd-daemon(3))."""
LONGEST_LINE = 4 << 10
MOST_TRACE_LINES = 200
INDENT = "    "
"""Stands before each line of a stack trace: an exception's text can hold line breaks, and a record has none there."""


class LineFormatter(logging.Formatter):
    """Formats a record to one line of printable characters, followed by its stack trace, indented.

    The whole line is escaped after the arguments were put in. A line that begins without a blank is therefore a
    record that the program made.
    """

    def __init__(self, line: str = FORMAT) -> None:
        super().__init__(line)

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record's line, and the lines of its exception and stack."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        lines = [printable(self.formatMessage(record), LONGEST_LINE)]
        if record.exc_info:
            lines += trace_lines(_trace(record.exc_info))
        elif record.exc_text:
            lines += trace_lines(record.exc_text)
        if record.stack_info:
            lines += trace_lines(record.stack_info)
        return "\n".join(lines)


class JournalFormatter(LineFormatter):
    """Formats a record for the journal, which reads the priority at the beginning of each line."""

    def __init__(self) -> None:
        super().__init__(JOURNAL_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record's lines, each with its priority."""
        priority = next(number for level, number in PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def trace_lines(trace: str) -> list[str]:
    """Returns a stack trace's lines, indented and printable; of a very long one the first and the last."""
    lines = trace.rstrip("\n").split("\n")
    left_out = len(lines) - MOST_TRACE_LINES
    if left_out > 0:
        half = MOST_TRACE_LINES // 2
        lines = [*lines[:half], f"... {left_out} lines left out", *lines[-half:]]
    return [INDENT + printable(line, LONGEST_LINE) for line in lines]


def log_to(handler: logging.Handler) -> logging.Handler:
    """Gives the handler this format, or that of the journal where it writes there, and returns it."""
    handler.setFormatter(JournalFormatter() if _is_journal(handler) else LineFormatter())
    return handler


def _is_journal(handler: logging.Handler, environment: Mapping[str, str] = os.environ) -> bool:
    """Tells whether systemd reads what the handler writes: it names the device and inode (systemd.exec(5))."""
    told = environment.get("JOURNAL_STREAM", "")
    if not told or not isinstance(handler, logging.StreamHandler):
        return False
    try:
        stream = os.fstat(handler.stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False  # a stream that is no file
    return told == f"{stream.st_dev}:{stream.st_ino}"


def _trace(
    raised: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
) -> str:
    text = io.StringIO()
    traceback.print_exception(*raised, file=text)
    return text.getvalue()
