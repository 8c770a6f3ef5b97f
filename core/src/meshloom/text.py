"""Others' words made fit to be shown: what would move a cursor, hide or reorder text becomes a visible escape.

Names, versions, reasons, URLs and error texts come from peers, servers and strangers. Everything that a person reads
in a log, a terminal or a file goes through here, so that a name cannot forge a line or speak to the terminal.
"""

import json
import re
import sys
from typing import Any

LONGEST = 1024
"""Characters of one value: a name, a reason, a URL."""
LONGEST_LINE = 16 << 10
"""Characters of a line that lists several values."""
MARK = "…"
"""Stands at the end of a text that was cut."""

_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs: Python keeps bytes that are not text as such."""
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_BLANK = frozenset(
    map(
        chr,
        # Unicode counts these as letters, marks or symbols, but nothing of them is seen.
        (
            0x034F,
            0x115F,
            0x1160,
            0x17B4,
            0x17B5,
            0x2800,
            0x3164,
            0xFFA0,
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
        ),
    )
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Returns the text on one line, with every character visible.

    Controls, terminal escapes, line breaks, marks that reorder or hide text, halves of surrogate pairs and characters
    that Unicode has not assigned become ``\n``, ``\x1b``, ``\u202e`` or ``\U000e0001``. A backslash stays as it is:
    a text that was escaped once is not changed by a second pass, so that each border can escape on its own.

    Args:
        text: What somebody wrote.
        longest: Characters of the answer at most; a longer one ends with :data:`MARK`.
    """
    if len(text) <= longest and text.isprintable() and (text.isascii() or _BLANK.isdisjoint(text)):
        return text
    parts, size = [], 0
    for each in text[: longest + 1]:
        part = _escape(each)
        parts.append(part)
        size += len(part)
        if size > longest:
            break
    if size <= longest:
        return "".join(parts)
    while parts and size > longest - len(MARK):
        size -= len(parts.pop())
    return ("".join(parts) + MARK)[:longest]


def readable(text: str) -> str:
    """Returns text that can be sent: each byte that was not UTF-8 in what the system told becomes a question mark."""
    return text if text.isascii() else _HALVES.sub("\N{REPLACEMENT CHARACTER}", text)


def printable_lines(text: str, longest: int = sys.maxsize) -> str:
    r"""Returns the text with each line made printable; only ``\n`` separates lines.

    Args:
        text: Lines that the program itself composed; a value within them has gone through :func:`printable` already.
        longest: Characters of each line at most.
    """
    return "\n".join(printable(line, longest) for line in text.split("\n"))


def printable_value(value: Any) -> Any:
    """Returns a value of JSON with all of its texts made printable; keys stay."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: printable_value(each) for key, each in value.items()}
    return [printable_value(each) for each in value] if isinstance(value, list) else value


def json_text(value: Any, indent: int | None = None) -> str:
    """Returns JSON of printable ASCII; a program that reads it gets each text as it was said."""
    text = json.dumps(value, indent=indent, separators=None if indent else (",", ":"), default=str)
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON lets stand


def _escape(character: str) -> str:
    if character.isprintable() and character not in _BLANK:
        return character
    if short := _SHORT.get(character):
        return short
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
