"""What waits to be sent on the streams of one connection, as far as the windows of the other side allow.

Streams take turns, a frame each; one whose window is used up is not looked at until it has grown.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from meshloom_front.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LONGEST,
    MOST,
    WINDOW,
    Code,
    HTTP2Error,
    StreamError,
    head,
)

AT_ONCE: Final = 1 << 16
"""Bytes of bodies that are given to the network at a time."""
_NOTHING: Final = memoryview(b"")


@attrs.define
class Stream:
    """One that is open.

    Args:
        number: Of the stream.
        window: Bytes that may be sent on it.
        credit: Bytes that the other side may still send on it.
        owed: Bytes of those it has sent that were consumed, and not yet allowed again.
        ended: Whether the other side has said all.
        waiting: Bytes to be sent.
        kept: Bytes in memory for them: those sent already stay until all are.
        last: A header block to be sent after them; it ends the stream.
    """

    number: int
    window: int
    credit: int
    owed: int = 0
    ended: bool = False
    waiting: memoryview = _NOTHING
    kept: int = 0
    last: bytes | None = None


class Sending:
    """Bodies on their way out.

    Args:
        window: Bytes that may be sent on the connection.
        first_window: Bytes that may be sent on a new stream.
        longest: Bytes of a frame's payload that the other side takes.
        before_fields: What each header block begins with. Where the other side remembers less than everyone does at
            first, it is to be told that this is understood; each block may do so (RFC 7541 section 4.2).
        queued: Bytes in memory for all that waits.
    """

    def __init__(self) -> None:
        self.window = self.first_window = WINDOW
        self.longest = LONGEST
        self.before_fields = b""
        self.queued = 0
        self._ready: dict[int, Stream] = {}

    def add(self, stream: Stream, data: bytes) -> None:
        """Send that, after what waits already."""
        stream.waiting = memoryview(bytes(stream.waiting) + data) if stream.waiting else memoryview(data)
        self._keeps(stream, len(stream.waiting))
        if stream.window > 0:
            self._ready[stream.number] = stream

    def forget(self, stream: Stream) -> None:
        """Nothing more is to be sent on it."""
        stream.waiting, stream.last = _NOTHING, None
        self._keeps(stream, 0)
        self._ready.pop(stream.number, None)

    def take(self, out: list[bytes | memoryview]) -> list[Stream]:
        """Add frames, with about :data:`AT_ONCE` bytes of bodies; returns the streams of which nothing waits any more.

        Where a stream's last header block waited, it is added, too.
        """
        room, ready, done = AT_ONCE, self._ready, []
        while ready and room > 0 and self.window > 0:
            stream = ready.pop(next(iter(ready)))
            size = min(len(stream.waiting), stream.window, self.window, self.longest)
            out += (head(DATA, 0, stream.number, size), stream.waiting[:size])
            stream.waiting = stream.waiting[size:]
            stream.window -= size
            self.window -= size
            room -= size
            if not stream.waiting:
                stream.waiting = _NOTHING  # an empty view would keep the whole message
                self._keeps(stream, 0)
                done.append(stream)
                if stream.last is not None:
                    out.append(self.fields(stream.number, END_STREAM, stream.last))
            elif stream.window > 0:
                ready[stream.number] = stream
        return done

    def _keeps(self, stream: Stream, size: int) -> None:
        self.queued += size - stream.kept
        stream.kept = size

    def fields(self, number: int, flags: int, block: bytes) -> bytes:
        """The frame of a header block."""
        block = self.before_fields + block
        return head(HEADERS, END_HEADERS | flags, number, len(block)) + block

    def grow(self, increment: int) -> None:
        """The connection's window is larger.

        Raises:
            HTTP2Error: It is larger than there can be.
        """
        self.window += increment
        if self.window > MOST:
            raise HTTP2Error(Code.FLOW_CONTROL_ERROR, "the window of the connection is too large")

    def grow_stream(self, stream: Stream, increment: int) -> None:
        """A stream's window is larger.

        Raises:
            StreamError: It is larger than there can be.
        """
        stream.window += increment
        if stream.window > MOST:
            raise StreamError(Code.FLOW_CONTROL_ERROR, "the window of a stream is too large")
        if stream.waiting and stream.window > 0:
            self._ready[stream.number] = stream

    def set_first_window(self, size: int, streams: Iterable[Stream]) -> None:
        """New streams begin with that; open ones gain or lose the difference, even below 0 (section 6.9.2).

        Raises:
            HTTP2Error: A window becomes larger than there can be.
        """
        difference, self.first_window = size - self.first_window, size
        for stream in streams:
            stream.window += difference
            if stream.window > MOST:
                raise HTTP2Error(Code.FLOW_CONTROL_ERROR, "the window of a stream is too large")
            if stream.window <= 0:
                self._ready.pop(stream.number, None)
            elif stream.waiting:
                self._ready[stream.number] = stream
