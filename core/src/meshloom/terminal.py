"""The one way by which the programs print: each line is made printable, so that nobody's words speak to a terminal."""

import sys
import traceback
from types import TracebackType

from meshloom.errors import ConfigError
from meshloom.log_lines import trace_lines
from meshloom.text import LONGEST_LINE, printable

UNBOUNDED = sys.maxsize
"""A document for a program (JSON) may be one long line; values are bounded where they are put into a text."""


def say(*lines: str, error: bool = False) -> None:
    r"""Prints lines on standard output, or on standard error.

    Line breaks within an argument are escaped as everything is that a reader could not see. A text of several lines
    that the program itself composed is therefore split by the caller.

    Args:
        lines: Each becomes one line.
        error: Whether standard error is meant.
    """
    stream = sys.stderr if error else sys.stdout
    text = "".join(f"{printable(line, UNBOUNDED)}\n" for line in lines)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def say_error(error: BaseException | str) -> None:
    """Prints what went wrong on standard error; the problems of a configuration one by one."""
    first, *rest = error.sentences if isinstance(error, ConfigError) and error.problems else (str(error),)
    say(*(printable(line, LONGEST_LINE) for line in (f"error: {first}", *rest)), error=True)


def show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an error that nobody caught; stands in for ``sys.excepthook``, which writes an error's text as it is."""
    say(*trace_lines("".join(traceback.format_exception(kind, error, trace))), error=True)
