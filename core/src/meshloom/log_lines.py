"""The format of all programs' logs: one record is one line, whatever others wrote into its arguments."""

import io
import logging
import traceback
from types import TracebackType

from meshloom.text import printable

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LONGEST_LINE = 4 << 10
MOST_TRACE_LINES = 200
INDENT = "    "
"""Stands before each line of a stack trace: an exception's text can hold line breaks, and a record has none there."""


class LineFormatter(logging.Formatter):
    """Formats a record to one line of printable characters, followed by its stack trace, indented.

    The whole line is escaped after the arguments were put in. A line that begins without a blank is therefore a
    record that the program made.
    """

    def __init__(self) -> None:
        super().__init__(FORMAT)

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


def trace_lines(trace: str) -> list[str]:
    """Returns a stack trace's lines, indented and printable; of a very long one the first and the last."""
    lines = trace.rstrip("\n").split("\n")
    left_out = len(lines) - MOST_TRACE_LINES
    if left_out > 0:
        half = MOST_TRACE_LINES // 2
        lines = [*lines[:half], f"... {left_out} lines left out", *lines[-half:]]
    return [INDENT + printable(line, LONGEST_LINE) for line in lines]


def log_to(handler: logging.Handler) -> logging.Handler:
    """Gives the handler this format, and returns it."""
    handler.setFormatter(LineFormatter())
    return handler


def _trace(
    raised: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
) -> str:
    text = io.StringIO()
    traceback.print_exception(*raised, file=text)
    return text.getvalue()
