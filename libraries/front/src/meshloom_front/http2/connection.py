"""One connection of HTTP/2, the server's side: bytes in, requests out (RFC 9113).

Whatever the other side sends, what is kept for it is bounded: streams, header blocks, the bytes of bodies that nobody
has consumed yet, and how often it may ask for something that costs it nothing.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from meshloom_front.http2 import frames
from meshloom_front.http2.allowance import RESET_COSTS, WINDOWS_COST, Allowance
from meshloom_front.http2.events import DataCame, Event, RequestCame, StreamEnded
from meshloom_front.http2.frames import Code, HTTP2Error, StreamError
from meshloom_front.http2.headers import FIELD_TAKES, LONGEST_LIST, TABLE_OF_NOTHING, Requests, check, check_trailers
from meshloom_front.http2.sending import AT_ONCE, Sending, Stream

STREAMS: Final = 1_000
"""Requests that may be open at once."""
LONGEST_BLOCK: Final = LONGEST_LIST + 2048
"""Bytes of a header block, in all its frames: the longest fields that are taken, and what says how long they are."""
CREDIT: Final = 1 << 20
"""Bytes of bodies that may be on the way here on all streams."""
NUMBER_TAKES: Final = 36
"""Bytes of a stream's number in a list."""


class ServerConnection:
    """The state of one connection.

    Args:
        clock: Seconds, monotone.
        streams: Requests that may be open at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, streams: int = STREAMS) -> None:
        self._most = streams
        self._buffer = b""
        self._greeted = self._settled = False
        self._requests = Requests()
        self._sending = Sending()
        self._streams: dict[int, Stream] = {}
        self._newest = self._accepted = 0
        self._credit = CREDIT
        self._ended_here: deque[int] = deque(maxlen=streams)  # all that were open may end at once
        self._block: tuple[int, int, bytes] | None = None  # of HEADERS without END_HEADERS: stream, flags, so far
        self._allowance = Allowance(clock)
        self._going = False
        self._events: list[Event] = []
        ours = {frames.MAX_CONCURRENT_STREAMS: streams, frames.MAX_HEADER_LIST_SIZE: LONGEST_LIST}
        self._out: list[bytes | memoryview] = [
            frames.settings(ours),
            frames.window_update(0, CREDIT - frames.WINDOW),
        ]

    # What comes in.

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes of the other side tell; what they are to be answered with is in :meth:`take`.

        Raises:
            HTTP2Error: They break the protocol. The reason is in :meth:`take`, after which the connection has to end.
        """
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        try:
            if not self._greeted:
                if not frames.PREFACE.startswith(buffer[: len(frames.PREFACE)]):
                    raise HTTP2Error(Code.PROTOCOL_ERROR, "the connection does not begin with HTTP/2's preface")
                if end < len(frames.PREFACE):
                    self._buffer = buffer
                    return []
                self._greeted, at = True, len(frames.PREFACE)
            while end - at >= frames.HEAD:
                length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
                if length > frames.LONGEST:
                    raise HTTP2Error(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes is too long")
                start = at + frames.HEAD
                if end - start < length:
                    break
                stream = int.from_bytes(buffer[at + 5 : start], "big") & frames.MOST
                at, kind, flags = start + length, buffer[at + 3], buffer[at + 4]
                self._frame(kind, flags, stream, buffer[start:at])
        except HTTP2Error as error:
            self._buffer = b""
            self._sending.window = 0  # nothing follows the reason
            self._out.append(frames.goaway(self._accepted, error.code, str(error)))
            raise
        self._buffer = buffer[at:]
        events, self._events = self._events, []
        return events

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise HTTP2Error(Code.PROTOCOL_ERROR, "a header block is interrupted")
        if not self._settled and kind != frames.SETTINGS:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        handler = self._HANDLERS.get(kind)
        if handler is None:  # section 4.1: others are ignored
            self._allowance.spend(1)
            return
        try:
            handler(self, flags, stream, payload)
        except StreamError as error:
            self._allowance.spend(RESET_COSTS)
            self._end(stream, error.code)
            self._events.append(StreamEnded(stream))

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.2."""
        if not stream & 1:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        payload = frames.unpadded(flags, payload)
        if flags & frames.PRIORITIZED:
            if len(payload) < 5:
                raise HTTP2Error(Code.FRAME_SIZE_ERROR, "the priority of a stream is too short")
            payload = payload[5:]
        self._header_block(stream, flags, payload)

    def _continuation(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.10."""
        if self._block is None:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "there is no header block to continue")
        self._allowance.spend(1)
        _, first, before = self._block
        self._header_block(stream, first | flags & frames.END_HEADERS, before + payload)

    def _header_block(self, stream: int, flags: int, block: bytes) -> None:
        if len(block) > LONGEST_BLOCK:
            raise HTTP2Error(Code.ENHANCE_YOUR_CALM, "a header block is too long")
        if not flags & frames.END_HEADERS:
            self._block = stream, flags, block
            return
        self._block = None
        fields = self._requests.decode(block)  # always: the blocks of one connection build on each other
        ended = bool(flags & frames.END_STREAM)
        if stream <= self._newest:
            self._trailers(stream, ended, fields)
            return
        self._newest = stream
        if self._going or len(self._streams) >= self._most:
            self._allowance.spend(RESET_COSTS)
            self._end(stream, Code.REFUSED_STREAM)
            return
        self._accepted = stream
        self._streams[stream] = Stream(stream, self._sending.first_window, frames.WINDOW, ended=ended)
        size = len(block) + FIELD_TAKES * len(fields)
        self._events.append(RequestCame(stream, check(fields), ended, size))

    def _trailers(self, number: int, ended: bool, fields: list[tuple[bytes, bytes]]) -> None:
        """After a body; gRPC's clients send none."""
        stream = self._open(number)
        if stream is None:
            return
        if not ended:
            raise StreamError(Code.PROTOCOL_ERROR, "fields after a body do not end the stream")
        check_trailers(fields)
        stream.ended = True
        self._events.append(DataCame(number, b"", ended=True))

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        """Section 6.1."""
        self._check_used(number)
        length = len(payload)
        data = frames.unpadded(flags, payload)
        ended = bool(flags & frames.END_STREAM)
        self._credit -= length
        if self._credit < 0:
            raise HTTP2Error(Code.FLOW_CONTROL_ERROR, "more was sent than the connection's window allows")
        if self._credit < CREDIT // 2:
            self._out.append(frames.window_update(0, CREDIT - self._credit))
            self._credit = CREDIT
        if not data and not ended:
            self._allowance.spend(1)
        stream = self._open(number)
        if stream is None:
            return
        stream.credit -= length
        if stream.credit < 0:
            raise StreamError(Code.FLOW_CONTROL_ERROR, "more was sent than the stream's window allows")
        stream.ended = ended
        if length > len(data):
            self.consumed(number, length - len(data))
        self._events.append(DataCame(number, data, ended))

    def _priority(self, _flags: int, stream: int, payload: bytes) -> None:
        """Section 6.3: of no consequence any more."""
        self._allowance.spend(1)
        if not stream:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "the priority of no stream")
        if len(payload) != 5:
            raise StreamError(Code.FRAME_SIZE_ERROR, "the priority of a stream is of the wrong length")

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        """Section 6.4."""
        self._check_used(number)
        frames.check_length(payload, 4)
        stream = self._streams.pop(number, None)
        self._allowance.spend(RESET_COSTS if stream is not None else 1)
        if stream is not None:
            self._sending.forget(stream)
            self._events.append(StreamEnded(number))

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.5."""
        self._allowance.spend(1)
        if stream:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise HTTP2Error(Code.FRAME_SIZE_ERROR, "settings of the wrong length")
        self._settled = True
        if flags & frames.ACK:
            return
        for name, value in frames.parse_settings(payload):
            if name == frames.HEADER_TABLE_SIZE and value < frames.TABLE:
                self._sending.before_fields = TABLE_OF_NOTHING
            if name == frames.ENABLE_PUSH and value > 1:
                raise HTTP2Error(Code.PROTOCOL_ERROR, "push can be on or off")
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MOST:
                    raise HTTP2Error(Code.FLOW_CONTROL_ERROR, "the initial window is too large")
                self._allowance.spend(1 + len(self._streams) // WINDOWS_COST)  # one frame may change them often
                self._sending.set_first_window(value, self._streams.values())
            if name == frames.MAX_FRAME_SIZE:
                if not frames.LONGEST <= value < 1 << 24:
                    raise HTTP2Error(Code.PROTOCOL_ERROR, "the longest frame is out of range")
                self._sending.longest = min(value, AT_ONCE)  # else a long body keeps the others waiting
        self._out.append(frames.head(frames.SETTINGS, frames.ACK, 0, 0))

    def _push_promise(self, _flags: int, _stream: int, _payload: bytes) -> None:
        raise HTTP2Error(Code.PROTOCOL_ERROR, "a client promises nothing")

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.7."""
        self._allowance.spend(1)
        if stream:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "a ping of a stream")
        frames.check_length(payload, 8)
        if not flags & frames.ACK:
            self._out.append(frames.head(frames.PING, frames.ACK, 0, 8) + payload)

    def _goaway(self, _flags: int, stream: int, _payload: bytes) -> None:
        """Section 6.8: the client opens no more streams, and closes when those that are open have ended."""
        self._allowance.spend(1)
        if stream:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "a stream goes away")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        """Section 6.9."""
        self._allowance.spend(1)
        frames.check_length(payload, 4)
        increment = int.from_bytes(payload, "big") & frames.MOST
        if not number:
            if not increment:
                raise HTTP2Error(Code.PROTOCOL_ERROR, "the window of the connection grows by nothing")
            self._sending.grow(increment)
            return
        self._check_used(number)
        if not increment:
            raise StreamError(Code.PROTOCOL_ERROR, "the window of a stream grows by nothing")
        if (stream := self._streams.get(number)) is not None:
            self._sending.grow_stream(stream, increment)

    def _check_used(self, stream: int) -> None:
        if not stream & 1 or stream > self._newest:
            raise HTTP2Error(Code.PROTOCOL_ERROR, "a frame of a stream that nobody has opened")

    def _open(self, number: int) -> Stream | None:
        """A stream on which the other side may speak; None where it cannot know yet that it may not."""
        stream = self._streams.get(number)
        if stream is None:
            if number in self._ended_here:
                self._allowance.spend(1)
                return None
            raise HTTP2Error(Code.STREAM_CLOSED, "a frame of a stream that is closed")
        if stream.ended:
            raise StreamError(Code.STREAM_CLOSED, "a frame of a stream on which all was said")
        return stream

    # What goes out.

    def take(self, *, bodies: bool = True) -> tuple[bytes, list[int]]:
        """What is to be sent now, and the streams whose body has gone out with it or before.

        Without *bodies*, since the network takes no more, only what is short. There may be more: take again.
        """
        out, self._out = self._out, []
        window = self._sending.window
        done = self._sending.take(out) if bodies else []
        if sent := window - self._sending.window:
            self._allowance.earn(sent)
        for stream in done:
            if stream.last is not None:
                self._finished(stream, out)
        return b"".join(out), [stream.number for stream in done]

    def consumed(self, number: int, size: int) -> None:
        """So many bytes of a body take no more room here: the other side may send as many again."""
        stream = self._streams.get(number)
        if stream is None or stream.ended:
            return
        stream.owed += size
        if stream.owed >= frames.WINDOW // 2:
            self._out.append(frames.window_update(number, stream.owed))
            stream.credit += stream.owed
            stream.owed = 0

    def send_headers(self, number: int, block: bytes) -> None:
        """Begin an answer with a header block that is encoded."""
        if number in self._streams:
            self._out.append(self._sending.fields(number, 0, block))

    def send_data(self, number: int, data: bytes) -> None:
        """More of an answer, after what waits already."""
        if (stream := self._streams.get(number)) is not None:
            self._sending.add(stream, data)

    def end(self, number: int, block: bytes) -> None:
        """End an answer with a header block, after what waits."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if stream.waiting:
            stream.last = block
            return
        self._out.append(self._sending.fields(number, frames.END_STREAM, block))
        self._finished(stream, self._out)

    def waits(self, number: int) -> bool:
        """Whether part of an answer could not be sent yet."""
        stream = self._streams.get(number)
        return stream is not None and bool(stream.waiting)

    def reset(self, number: int, code: Code) -> None:
        """End a stream at once."""
        if number in self._streams:
            self._end(number, code)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._out.append(frames.head(frames.PING, 0, 0, 8) + bytes(8))

    def allow_streams(self, streams: int) -> None:
        """Let the other side have so many requests open at once."""
        self._most = streams
        self._ended_here = deque(self._ended_here, maxlen=streams)
        self._out.append(frames.settings({frames.MAX_CONCURRENT_STREAMS: streams}))

    @property
    def held(self) -> int:
        """Bytes of answers that wait for a window, of what has not come in whole, and of what has to be remembered."""
        half = len(self._buffer) + (len(self._block[2]) if self._block is not None else 0)
        return self._sending.queued + half + self._requests.held + len(self._ended_here) * NUMBER_TAKES

    def forget(self) -> None:
        """Keep nothing any more: the connection is gone."""
        self._buffer, self._block = b"", None
        self._streams.clear()
        self._out.clear()
        self._ended_here.clear()
        self._requests, self._sending = Requests(), Sending()

    def go_away(self) -> None:
        """Take no more requests: the other side has to make them elsewhere."""
        if not self._going:
            self._going = True
            self._out.append(frames.goaway(self._accepted, Code.NO_ERROR, "the server is stopping"))

    def _finished(self, stream: Stream, out: list[bytes | memoryview]) -> None:
        """All is sent: if the other side has not said all, it need not (section 8.1)."""
        del self._streams[stream.number]
        if not stream.ended:
            self._ended_here.append(stream.number)
            out.append(frames.rst_stream(stream.number, Code.NO_ERROR))

    def _end(self, number: int, code: Code) -> None:
        if (stream := self._streams.pop(number, None)) is not None:
            self._sending.forget(stream)
        self._ended_here.append(number)
        self._out.append(frames.rst_stream(number, code))

    _HANDLERS: ClassVar[dict[int, Callable[["ServerConnection", int, int, bytes], None]]] = {
        frames.DATA: _data,
        frames.HEADERS: _headers,
        frames.PRIORITY: _priority,
        frames.RST_STREAM: _rst_stream,
        frames.SETTINGS: _settings,
        frames.PUSH_PROMISE: _push_promise,
        frames.PING: _ping,
        frames.GOAWAY: _goaway,
        frames.WINDOW_UPDATE: _window_update,
        frames.CONTINUATION: _continuation,
    }
