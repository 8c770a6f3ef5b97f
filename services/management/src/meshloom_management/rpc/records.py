"""The format of the file of messages that came already: records with a check sum each, found again after damage."""

import binascii
import struct
from typing import Final

import attrs

from meshloom_management.rpc.seen import LONGEST, MARK, OF_STRANGER

BEGIN: Final = b"meshloom nonces 1\n"
MOST: Final = LONGEST + OF_STRANGER
"""Messages in one record."""
_head = struct.Struct(">8sH")
_code = struct.Struct(">L")
_shortest = _head.size + _code.size


@attrs.frozen
class Contents:
    """What a file holds.

    Attributes:
        records: Senders' marks, each with those of its messages.
        end: Where the last record begins that was written by half; else the file's length.
        places: How many stretches are damaged.
        damaged: Their bytes together.
    """

    records: list[tuple[bytes, bytes]]
    end: int
    places: int
    damaged: int


def to_record(sender: bytes, marks: bytes) -> bytes:
    """The bytes of a record."""
    body = _head.pack(sender, len(marks) // MARK) + marks
    return body + _code.pack(binascii.crc32(body))


def read_records(data: bytes) -> Contents:
    """All whole records of a file, whatever lies between them."""
    records: list[tuple[bytes, bytes]] = []
    places = damaged = 0
    if BEGIN.startswith(data):
        return Contents(records, 0 if data != BEGIN else len(BEGIN), places, damaged)
    at = len(BEGIN) if data.startswith(BEGIN) else 0
    while at < len(data):
        end = _end(data, at)
        if end:
            sender, _ = _head.unpack_from(data, at)
            records.append((sender, data[at + _head.size : end - _code.size]))
            at = end
            continue
        after = _next(data, at + 1)
        if after == len(data) and at and _is_cut_off(data, at):
            return Contents(records, at, places, damaged)
        places, damaged, at = places + 1, damaged + after - at, after
    return Contents(records, len(data), places, damaged)


def _end(data: bytes, at: int) -> int:
    """Where a record ends that begins there; 0 where none does."""
    if at + _shortest > len(data):
        return 0
    end = at + _head.size + _head.unpack_from(data, at)[1] * MARK
    if end - at > _head.size + MOST * MARK or end + _code.size > len(data):
        return 0
    is_whole = _code.unpack_from(data, end)[0] == binascii.crc32(data[at:end])
    return end + _code.size if is_whole else 0


def _next(data: bytes, start: int) -> int:
    """Where the next whole record begins; the file's length where there is none."""
    high = _head.size - 2
    for at in range(start, len(data) - _shortest + 1):
        if data[at + high] <= MOST >> 8 and _end(data, at):
            return at
    return len(data)


def _is_cut_off(data: bytes, at: int) -> bool:
    """Whether the rest of the file can be the beginning of one record."""
    if at + _head.size > len(data):
        return True
    count: int = _head.unpack_from(data, at)[1]
    return count <= MOST and at + _shortest + count * MARK > len(data)
