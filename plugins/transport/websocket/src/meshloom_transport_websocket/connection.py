"""One WebSocket connection in either role: the websockets library's state machine on an asyncio protocol.

What is sent while the event loop works through what has arrived goes to the kernel as one write.
"""

import asyncio
import logging
from abc import abstractmethod
from typing import Any

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SEND_EOF, Protocol

from meshloom.transport import LONGEST_MESSAGE, Connection, Receiver
from meshloom.transport_bounds import LONGEST_HANDSHAKE, FrameRefused, Frames

NAME = "websocket"
PATH = "/relay"
HANDSHAKE_WITHIN = 10.0
CLOSE_WITHIN = 3.0
"""Seconds for the request to come or to be answered, and for the other side to take what was sent before a close."""
UNSENT = 64 * 1024
"""Bytes waiting for the kernel from which on the connection is full."""
SLICE = 16 * 1024
"""Bytes that the library is given at once: it makes objects of all frames in them before any is looked at."""
QUIET = logging.getLogger(f"{__name__}.library")
QUIET.setLevel(logging.CRITICAL)  # it tells what strangers get wrong, with stack traces


class Unanswering(Protocol):
    """Keeps the library from answering pings by itself, without a bound; for both roles, before their classes."""

    def recv_frame(self, frame: Frame) -> None:
        """Handles a frame as the library does; a ping is an event only."""
        if frame.opcode is Opcode.PING:
            self.events.append(frame)
        else:
            super().recv_frame(frame)


class WebSocketConnection(asyncio.Protocol, Connection):
    """A connection from its first byte on; the roles differ in the handshake."""

    transport = NAME
    max_message_size = LONGEST_MESSAGE

    def __init__(self, websocket: Protocol, opened: set["WebSocketConnection"], longest: int) -> None:
        self.remote = ("", 0)
        self._websocket, self._opened = websocket, opened
        self._receiver: Receiver | None = None
        self._stream: Any = None
        self._longest = longest
        self._frames: Frames | None = None
        self._ping: bytes | None = None
        self._handshake: int | None = 0
        self._full = self._refused = self._closing = False
        self._gathered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reason = "closed by the other side"

    @property
    def is_full(self) -> bool:
        """Whether what is sent now would be dropped."""
        return self._full

    def send(self, message: bytes | bytearray | memoryview, rest: bytes | bytearray | memoryview = b"") -> bool:
        """As the contract says."""
        if self._full or self._closing or self._websocket.state is not OPEN:
            self._refused = True
            return False
        joined = b"".join((message, rest))
        if len(joined) > LONGEST_MESSAGE:
            return False
        self._websocket.send_binary(joined)
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered += len(joined)
        if self._gathered > UNSENT:
            self._flush()
        return True

    def close(self) -> None:
        """As the contract says."""
        self._close(CloseCode.NORMAL_CLOSURE, "closed by this side")

    def admit(self) -> None:
        """As the contract says."""
        self._longest = LONGEST_MESSAGE

    def abort(self) -> None:
        """Close at once."""
        if self._stream is not None:
            self._stream.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the handshake has its time."""
        self._stream = transport
        self._stream.set_write_buffer_limits(UNSENT)
        peer = transport.get_extra_info("peername")
        self.remote = (str(peer[0]), int(peer[1])) if peer else ("", 0)
        self._opened.add(self)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_WITHIN, self.abort)

    def data_received(self, data: bytes) -> None:
        """More from the other side, in pieces."""
        if len(data) <= SLICE:
            self._receive(data)
            return
        rest = memoryview(data)
        while rest and not self._closing:
            self._receive(bytes(rest[:SLICE]))
            rest = rest[SLICE:]

    def eof_received(self) -> None:
        """The other side sends no more, nor will this one."""
        if not self._closing:
            self._websocket.receive_eof()
            self._work()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The last call."""
        self._closing = True
        self._opened.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._receiver is not None:
            self._receiver.connection_lost(self._reason)

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._full = True

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._full = False
        self._answer()
        if self._refused and not self._closing and self._receiver is not None:
            self._refused = False
            self._receiver.writable()

    @abstractmethod
    def handshake(self, event: Any) -> None:
        """The request or its answer has come."""

    def established(self) -> None:
        """The handshake is done."""
        self._handshake = None
        if self._timer is not None:
            self._timer.cancel()

    def _receive(self, data: bytes) -> None:
        if self._closing:
            return
        if self._handshake is not None:
            self._handshake += len(data)
            if self._handshake > LONGEST_HANDSHAKE + SLICE:
                self.abort()
                return
        self._websocket.receive_data(data)
        self._work()

    def _work(self) -> None:
        for event in self._websocket.events_received():
            if not isinstance(event, Frame):
                self.handshake(event)
            elif not self._closing:
                self._frame(event)
        self._flush()
        if self._websocket.close_expected():
            self._end("closed by the other side")

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY and frame.fin:
            if len(frame.data) > self._longest:
                self._close(CloseCode.MESSAGE_TOO_BIG, "a message is too long")
            else:
                self._receiver.message_received(memoryview(frame.data))  # type: ignore[union-attr]
            return
        try:
            self._seldom(frame, asyncio.get_running_loop().time())
        except FrameRefused as refused:
            self._close(CloseCode(refused.code), str(refused))

    def _seldom(self, frame: Frame, now: float) -> None:
        """Takes messages in fragments, as a proxy may make of them, and everything that is not a message."""
        if self._frames is None:
            self._frames = Frames(now)
        if frame.opcode in (Opcode.BINARY, Opcode.CONT):
            whole = self._frames.add(frame.data, is_last=frame.fin, longest=self._longest, now=now)
            if whole is not None:
                self._receiver.message_received(memoryview(whole))  # type: ignore[union-attr]
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            self._frames.count_idle(now)
            if frame.opcode is Opcode.PING:
                self._ping = bytes(frame.data)
                self._answer()
        elif frame.opcode is Opcode.TEXT:
            self._close(CloseCode.UNSUPPORTED_DATA, "a message is not binary")

    def _answer(self) -> None:
        """Answers the newest ping (RFC 6455 section 5.5.3), once there is room: an answer never waits in memory."""
        if self._ping is not None and not self._full and not self._closing:
            payload, self._ping = self._ping, None
            self._websocket.send_pong(payload)
            self._flush()

    def _flush(self) -> None:
        self._gathered = 0
        out = self._websocket.data_to_send()
        if not out or self._stream is None or self._stream.is_closing():
            return
        ends = out[-1] == SEND_EOF
        self._stream.write(b"".join(out))
        if ends:
            self._end("closed by the other side")

    def _close(self, code: CloseCode, reason: str) -> None:
        if self._closing:
            return
        if self._websocket.state is OPEN:
            self._websocket.send_close(code)
        self._flush()
        self._end(reason)

    def _end(self, reason: str) -> None:
        """Close the stream once everything is sent, or after a while."""
        if not self._closing:
            self._closing, self._reason = True, reason
        if self._stream is not None and not self._stream.is_closing():
            self._stream.close()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(CLOSE_WITHIN, self.abort)
