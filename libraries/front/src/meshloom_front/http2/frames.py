"""Frames of HTTP/2: kinds, flags, error codes, and what this server sends (RFC 9113 sections 4, 6 and 7)."""

import struct
from enum import IntEnum
from typing import Final

from meshloom.errors import ProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = 9
"""Bytes of a frame before its payload."""
LONGEST: Final = 1 << 14
"""Bytes of a payload that everyone must take, and more than which this server does not (section 4.2)."""
WINDOW: Final = (1 << 16) - 1
"""Bytes that may be on the way before anything else is agreed (section 6.9.2)."""
MOST: Final = (1 << 31) - 1
"""Of a window, and of a stream's number."""
TABLE: Final = 1 << 12
"""Bytes of what header blocks remember before anything else is agreed (section 6.5.2)."""

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6


class Code(IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class HTTP2Error(ProtocolError):
    """The other side broke the protocol: the connection has to end."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(f"{text} ({code.name})")
        self.code = code


class StreamError(HTTP2Error):
    """The other side broke the protocol on one stream: that one has to end."""


_head = struct.Struct(">HBBBL").pack
_long = struct.Struct(">L").pack
_setting = struct.Struct(">HL")


def head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """What goes before a payload of so many bytes."""
    return _head(length >> 8, length & 0xFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(_setting.pack(name, value) for name, value in values.items())
    return head(SETTINGS, 0, 0, len(payload)) + payload


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Names and values, in their order; the payload's length is a multiple of 6."""
    return list(_setting.iter_unpack(payload))


def rst_stream(stream: int, code: Code) -> bytes:
    """A frame that ends a stream at once."""
    return head(RST_STREAM, 0, stream, 4) + _long(code)


def window_update(stream: int, increment: int) -> bytes:
    """A frame that allows so many bytes more."""
    return head(WINDOW_UPDATE, 0, stream, 4) + _long(increment)


def goaway(last: int, code: Code, text: str = "") -> bytes:
    """A frame that ends the connection after the stream *last*."""
    payload = _long(last) + _long(code) + text.encode()
    return head(GOAWAY, 0, 0, len(payload)) + payload


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a payload is without its padding (section 6.1)."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise HTTP2Error(Code.PROTOCOL_ERROR, "there is more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def check_length(payload: bytes, length: int) -> None:
    """Of a payload that has always the same."""
    if len(payload) != length:
        raise HTTP2Error(Code.FRAME_SIZE_ERROR, "a frame is of the wrong length")
