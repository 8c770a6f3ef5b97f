"""Header blocks: what a request says, checked, and what an answer says (RFC 9113 section 8, RFC 7541).

Answers are encoded with nothing remembered between them, so an encoded one can be used again for every connection.
"""

import re
from collections.abc import Iterable
from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from meshloom_front.http2.frames import Code, HTTP2Error, StreamError

LONGEST_LIST: Final = 16 * 1024
"""Bytes of a request's fields, with 32 more counted for each (RFC 9113 section 6.5.2)."""
FIELD_TAKES: Final = 150
"""Bytes that a field takes here beside its text, about."""
STATUS_200: Final = b"\x88"
"""``:status: 200`` by its place in the static table."""
TABLE_OF_NOTHING: Final = b"\x20"
"""Before a block: nothing is remembered any more (RFC 7541 section 6.3)."""
TABLE_UPDATES: Final = 2
"""How often a block may change the size of what is remembered, before its first field (RFC 7541 section 4.2)."""
JOINED: Final = b"x-forwarded-for"
"""The field of which a request may have several that count together (RFC 9110 section 5.3)."""
_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED: Final = (b":method", b":scheme", b":path")
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

_is_name = re.compile(rb"[^\x00-\x20A-Z:\x7f-\xff]+").fullmatch  # section 8.2.1
_breaks_lines = re.compile(rb"[\x00\r\n]").search

Fields = list[tuple[bytes, bytes]]


class Requests:
    """Decodes the header blocks of one connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=LONGEST_LIST)

    @property
    def held(self) -> int:
        """Bytes of fields that later blocks may refer to, about."""
        return len(self._decoder.header_table.dynamic_entries) * FIELD_TAKES

    def decode(self, block: bytes) -> Fields:
        """The fields of a block.

        Raises:
            HTTP2Error: It cannot be read; what follows on the connection cannot be either.
        """
        if _updates(block) > TABLE_UPDATES:
            raise HTTP2Error(Code.COMPRESSION_ERROR, "a header block changes the size of its table too often")
        try:
            return self._decoder.decode(block, raw=True)  # type: ignore[return-value]
        except OversizedHeaderListError as error:
            raise HTTP2Error(Code.ENHANCE_YOUR_CALM, "the fields of a request are too long") from error
        except HPACKError as error:
            raise HTTP2Error(Code.COMPRESSION_ERROR, "a header block cannot be read") from error


def _updates(block: bytes) -> int:
    """How often a block begins by changing the size of the table, counted no further than one too many.

    Each costs the decoder more than a microsecond and its sender a byte. After a field, the decoder refuses them.
    """
    at = found = 0
    while found <= TABLE_UPDATES and block[at : at + 1] and block[at] & 0xE0 == 0x20:
        if block[at] & 0x1F == 0x1F:
            at += 1
            while block[at : at + 1] and block[at] & 0x80:
                at += 1
        at += 1
        found += 1
    return found


def check(fields: Fields) -> dict[bytes, bytes]:
    """A request's fields by their names; of those that occur again the first, but all of :data:`JOINED`.

    Raises:
        StreamError: They are no request (RFC 9113 sections 8.2 and 8.3).
    """
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO:
                raise StreamError(Code.PROTOCOL_ERROR, "a pseudo-header field is unknown, repeated or late")
        else:
            regular = True
            if not _is_name(name):
                raise StreamError(Code.PROTOCOL_ERROR, "a field's name is empty, not in lower case or no name")
            if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
                raise StreamError(Code.PROTOCOL_ERROR, "a field has no place in HTTP/2")
        if _breaks_lines(value):
            raise StreamError(Code.PROTOCOL_ERROR, "a field's value has more than one line")
        if name in found and name == JOINED:
            value = found.pop(name) + b"," + value  # noqa: PLW2901 - each proxy may append a field of its own
        found.setdefault(name, value)
    for name in _NEEDED:
        if not found.get(name):
            raise StreamError(Code.PROTOCOL_ERROR, "the method, scheme or path is missing")
    return found


def check_trailers(fields: Fields) -> None:
    """After a request's body.

    Raises:
        StreamError: There are pseudo-header fields among them (RFC 9113 section 8.1).
    """
    if any(name[:1] == b":" for name, _ in fields):
        raise StreamError(Code.PROTOCOL_ERROR, "a pseudo-header field follows the body")


def encode(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields as literals that nobody has to remember (RFC 7541 section 6.2.2)."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    """A string as it is, after its length with a prefix of 7 bits (RFC 7541 sections 5.1 and 5.2)."""
    length = len(text)
    if length < 127:
        return bytes((length,)) + text
    coded, length = bytearray(b"\x7f"), length - 127
    while length >= 128:
        coded.append(length & 0x7F | 0x80)
        length >>= 7
    coded.append(length)
    return bytes(coded) + text
