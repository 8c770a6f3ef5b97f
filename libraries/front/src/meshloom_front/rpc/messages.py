"""gRPC's messages within a body, and the fields around them (gRPC over HTTP/2, "Requests" and "Responses").

A message is a byte that tells whether it is compressed, four of length, and its bytes.
"""

import struct
from collections import deque
from typing import Final

from meshloom_front.http2.headers import STATUS_200, encode
from meshloom_front.rpc.status import CallFailed, Status

LONGEST: Final = 1 << 20
"""Bytes of a message that is taken."""
LONGEST_TEXT: Final = 1_000
"""Characters of a failure that the caller is told; the fields have to fit into one frame."""
KEPT: Final = 64
"""Bytes that a message takes here beside its own, about: many small ones must not pass for little."""
HEAD: Final = 5
_head = struct.Struct(">BL")
CONTENT: Final = b"application/grpc"

ANSWER: Final = STATUS_200 + encode([(b"content-type", CONTENT)])
"""The header block that begins an answer."""
OK: Final = encode([(b"grpc-status", b"0")])
"""The header block that ends one without failure."""
NO_GRPC: Final = b"\x08\x03415" + encode([(b"content-type", b"text/plain")])
"""For a request that is not gRPC: 415, by the place of ``:status`` in the static table."""
BLOCK: Final = 16 * 1024
"""Bytes of a message that are kept together until the rest has come."""


def framed(message: bytes) -> bytes:
    """A message as it goes into a body."""
    return _head.pack(0, len(message)) + message


def answer(metadata: tuple[tuple[str, str], ...]) -> bytes:
    """The header block that begins an answer with metadata."""
    return ANSWER + encode((name.encode(), value.encode()) for name, value in metadata)


def failure(status: Status, text: str, *, begun: bool) -> bytes:
    """The header block that ends an answer with a failure; the only one, where the answer has not *begun*."""
    fields = [(b"grpc-status", b"%d" % status), (b"grpc-message", _percent_encoded(text))]
    return (b"" if begun else ANSWER) + encode(fields)


def _percent_encoded(text: str) -> bytes:
    """Everything but printable ASCII, and the percent sign, as %XX."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text[:LONGEST_TEXT].encode(errors="replace")
    )


class Messages:
    """Takes messages out of a body that comes piece by piece.

    Args:
        size: Bytes that the messages take which nobody has taken yet.
    """

    def __init__(self) -> None:
        self.size = 0
        self._whole: deque[bytes] = deque()
        self._part = bytearray()
        self._blocks: list[bytes] = []
        self._come = 0
        self._needed = HEAD

    def __len__(self) -> int:
        return len(self._whole)

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return self.size + self._come

    def feed(self, data: bytes) -> None:
        """More of the body.

        Raises:
            CallFailed: A message is too long or compressed.
        """
        if self._come:
            self._keep(data)
            if self._come < self._needed:
                return
            data = b"".join((*self._blocks, self._part))
            self._blocks.clear()
            self._part.clear()
            self._come = 0
        at, end = 0, len(data)
        self._needed = HEAD
        while end - at >= HEAD:
            compressed, length = _head.unpack_from(data, at)
            if compressed:
                raise CallFailed(Status.UNIMPLEMENTED, "compressed messages are not taken: send them as they are")
            if length > LONGEST:
                raise CallFailed(Status.RESOURCE_EXHAUSTED, f"a message of {length} bytes is longer than {LONGEST}")
            stop = at + HEAD + length
            if stop > end:
                self._needed = HEAD + length
                break
            self._whole.append(data[at + HEAD : stop])
            self.size += length + KEPT
            at = stop
        if at < end:
            self._keep(data[at:])

    def _keep(self, data: bytes) -> None:
        """Part of a message, in blocks that do not grow: what grows leaves holes behind that nothing else fits into."""
        self._come += len(data)
        self._part += data
        if len(self._part) >= BLOCK:
            self._blocks.append(bytes(self._part))
            self._part.clear()

    def take(self) -> bytes:
        """The oldest message."""
        message = self._whole.popleft()
        self.size -= len(message) + KEPT
        return message

    def only(self) -> bytes:
        """The message of a body that has ended and must hold one.

        Raises:
            CallFailed: It holds none, more, or a part of one.
        """
        if len(self._whole) != 1 or self._come:
            raise CallFailed(Status.INTERNAL, "the request must be one message")
        return self.take()
