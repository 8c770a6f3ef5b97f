"""Netlink attributes (netlink(7)): a length, a type, a value, padded to four bytes."""

import struct
from collections.abc import Iterable, Iterator

from meshloom.errors import ProtocolError

HEADER = struct.Struct("=HH")
NESTED = 0x8000
TYPE = 0x3FFF
"""The bits of a type that are no flags."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return HEADER.pack(HEADER.size + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, attributes: Iterable[bytes]) -> bytes:
    """Attributes within one."""
    return attribute(kind | NESTED, b"".join(attributes))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Types and values of all in the data.

    Raises:
        ProtocolError: A length does not fit.
    """
    at = 0
    while at + HEADER.size <= len(data):
        length, kind = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            raise ProtocolError(f"an attribute of netlink says it has {length} bytes of {len(data) - at}")
        yield kind & TYPE, data[at + HEADER.size : at + length]
        at += length + -length % 4
