"""One WebSocket connection in either role, on picows' protocol class.

Small messages are gathered: what is sent while the event loop works through what has arrived goes to the kernel as
one write. Without it a forwarded packet costs a system call of its own, which is most of what it costs at all.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in their stubs

from meshloom.transport import LONGEST_MESSAGE, LONGEST_OF_STRANGER, Accept, Connection, Receiver
from meshloom.transport_bounds import FrameRefused, Frames

_log = logging.getLogger(__name__)

NAME = "picows"
PATH = "/relay"
HANDSHAKE_WITHIN = 10.0
CLOSE_WITHIN = 3.0
"""Seconds for the request to come or to be answered, and for the other side to take what was sent before a close."""
FIRST_READ = 4 * 1024
MOST_READ = 32 * 1024
"""Bytes of a connection's read buffer at first, and read at once at most: one that has much to say does not hold up
the others, and its buffer grows to twice that and no further. A stranger's reads stay at half of the first buffer."""
UNSENT = 64 * 1024
"""Bytes waiting for the kernel from which on the connection is full."""

BINARY = WSMsgType.BINARY


class PicowsConnection(WSListener, Connection):
    """An open connection in either role.

    Args:
        receiver: Whom to tell; None on the side that accepts, which is asked once the handshake is done.
        accept: Asks it.
        opened: The connections of this transport that are open.

    Attributes:
        most_read: Bytes that are read at once at most.
        origin: Tells where the request comes from, by the address of the other side.
    """

    transport = NAME
    max_message_size = LONGEST_MESSAGE

    def __init__(self, receiver: Receiver | None, accept: Accept | None, opened: set["PicowsConnection"]) -> None:
        self.remote = ("", 0)
        self.origin: Callable[[str], str] = str
        self._receiver, self._accept, self._opened = receiver, accept, opened
        self._websocket: WSTransport | None = None
        self._longest = LONGEST_MESSAGE if accept is None else LONGEST_OF_STRANGER
        self.most_read = MOST_READ if accept is None else FIRST_READ // 2
        self._frames: Frames | None = None
        self._is_within = False
        self._ping: bytes | None = None
        self._full = self._refused = self._closing = False
        self._reason = "closed by the other side"

    @property
    def is_full(self) -> bool:
        """Whether what is sent now would be dropped."""
        return self._full

    @property
    def has_opened(self) -> bool:
        """Whether the handshake is done; the connection may be lost again."""
        return self._websocket is not None

    def forget(self) -> None:
        """Tells the receiver nothing any more."""
        self._receiver = None

    def send(self, message: bytes | bytearray | memoryview, rest: bytes | bytearray | memoryview = b"") -> bool:
        """As the contract says."""
        if self._full or self._closing:
            self._refused = True
            return False
        joined = b"".join((message, rest))
        if len(joined) > LONGEST_MESSAGE:
            return False
        self._websocket.send(BINARY, joined)  # type: ignore[union-attr]
        return True

    def close(self) -> None:
        """As the contract says."""
        self._close(WSCloseCode.OK, "closed by this side")

    def admit(self) -> None:
        """As the contract says."""
        self._longest, self.most_read = LONGEST_MESSAGE, MOST_READ

    def abort(self) -> None:
        """Close at once."""
        if self._websocket is not None:
            self._websocket.disconnect(False)

    def _close(self, code: WSCloseCode, reason: str) -> None:
        if self._closing or self._websocket is None:
            return
        self._closing = True
        self._reason = reason
        self._websocket.send_close(code)
        self._websocket.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._websocket = transport
        self._opened.add(self)
        peer = transport.underlying_transport.get_extra_info("peername")
        self.remote = (self.origin(str(peer[0])), int(peer[1])) if peer else ("", 0)
        if self._accept is not None:
            accept, self._accept = self._accept, None
            self._receiver = accept(self)
            if self._receiver is None:
                self._close(WSCloseCode.TRY_AGAIN_LATER, "refused")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        """A frame; nearly always a whole message."""
        if self._closing or self._receiver is None:
            return
        if frame.msg_type == BINARY and frame.fin and not self._is_within:
            if frame.payload_size > self._longest:
                self._close(WSCloseCode.MESSAGE_TOO_BIG, "a message is too long")
            else:
                self._receiver.message_received(frame.get_payload_as_memoryview())
            return
        try:
            self._seldom(frame, asyncio.get_running_loop().time())
        except FrameRefused as refused:
            self._close(WSCloseCode(refused.code), str(refused))

    def _seldom(self, frame: WSFrame, now: float) -> None:
        """Takes messages in fragments, as a proxy may make of them, and everything that is not a message."""
        if self._frames is None:
            self._frames = Frames(now)
        kind = frame.msg_type
        if kind in (WSMsgType.PING, WSMsgType.PONG):
            self._frames.count_idle(now)
            if kind == WSMsgType.PING:
                self._ping = frame.get_payload_as_bytes()
                self._answer()
        elif kind == (WSMsgType.CONTINUATION if self._is_within else BINARY):
            part, is_last = frame.get_payload_as_memoryview(), bool(frame.fin)
            whole = self._frames.add(part, is_last=is_last, longest=self._longest, now=now)
            self._is_within = self._frames.is_within
            if whole is not None:
                self._receiver.message_received(memoryview(whole))  # type: ignore[union-attr]
        elif kind == WSMsgType.CLOSE:
            self._close(WSCloseCode.OK, "closed by the other side")
        else:
            self._close(WSCloseCode.UNSUPPORTED_DATA, "a message is not binary")

    def _answer(self) -> None:
        """Answers the newest ping (RFC 6455 section 5.5.3), once there is room: an answer never waits in memory."""
        if self._ping is not None and not self._full and not self._closing:
            payload, self._ping = self._ping, None
            self._websocket.send_pong(payload)  # type: ignore[union-attr]

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        """The last call."""
        self._closing = True
        self._opened.discard(self)
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


class Protocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol with bounded reads and gathered writes.

    Args:
        listener: Makes the connection, as picows calls it in the two roles.
        host: The request's host; empty for the server's side.
    """

    def __init__(self, listener: Callable[..., Any], host: str = "") -> None:
        super().__init__(
            host or None,
            PATH,
            bool(host),
            listener,
            Quiet(),
            True,  # an exception ends the connection
            None,  # the handshake's time is ours: theirs leaves an exception that nobody asks for
            False,  # no pings: the relay protocol has its own
            10,
            10,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # pings are answered by the connection, which bounds the answers
            LONGEST_MESSAGE,
            None,
            FIRST_READ,
        )

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        transport.set_write_buffer_limits(UNSENT)
        self._gathering = Gathering(transport)
        super().connection_made(self._gathering)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._gathering.lost()
        super().connection_lost(exc)
        with contextlib.suppress(Exception):  # takes the fault that picows keeps for somebody who waits: nobody does
            self.transport.wait_disconnected().send(None)

    def get_buffer(self, hint: int) -> memoryview:
        """Where to read into."""
        if self.transport.is_close_frame_sent:  # after a fault that picows found itself, it would read on for a while
            asyncio.get_running_loop().call_soon(self.transport.disconnect)
        whole: memoryview = super().get_buffer(hint)
        return whole[: self.listener.most_read if self.listener is not None else FIRST_READ]


class Gathering:
    """Stands between picows and the event loop's transport: writes of one turn of the loop become one.

    picows sends past the event loop where the transport says that nothing waits, so this one never says so.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self._waiting: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        self.get_extra_info = inner.get_extra_info
        self.abort = inner.abort
        self.pause_reading = inner.pause_reading
        self.resume_reading = inner.resume_reading

    def get_write_buffer_size(self) -> int:
        """More than nothing."""
        return 1

    def write(self, data: bytes) -> None:
        """Send with what else is sent in this turn of the loop."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > UNSENT:
            self._flush()

    def writelines(self, parts: list[Any]) -> None:
        """The header and the payload of one frame that is too long for picows to copy."""
        self.write(b"".join(parts))

    def close(self) -> None:
        """Closes after what was sent, or after a while."""
        if self._late is None:
            self._flush()
            self._inner.close()
            self._late = self._loop.call_later(CLOSE_WITHIN, self._inner.abort)

    def lost(self) -> None:
        """Notes that the connection is gone."""
        if self._late is not None:
            self._late.cancel()

    def is_closing(self) -> bool:
        """Whether it is."""
        return self._inner.is_closing()

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._size = self._waiting, [], 0
        if self._inner.is_closing():  # it was cut since: what comes for it until that is told goes nowhere
            return
        self._inner.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))


class Quiet:
    """A log for picows, which tells every connection and everything that strangers get wrong, with stack traces."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Only of what is worth a warning."""
        return level >= logging.WARNING and _log.isEnabledFor(logging.DEBUG)

    def log(self, level: int, message: str, *arguments: Any) -> None:
        """Told with debug, if at all."""
        if self.isEnabledFor(level):
            _log.debug(message, *arguments)

    def debug(self, message: str, *arguments: Any) -> None:
        """Not told."""

    def info(self, message: str, *arguments: Any) -> None:
        """Not told."""

    def warning(self, message: str, *arguments: Any) -> None:
        """What a stranger gets wrong."""
        _log.debug(message, *arguments)

    def error(self, message: str, *arguments: Any) -> None:
        """What a stranger gets wrong, too."""
        _log.debug(message, *arguments)

    def exception(self, message: str, *arguments: Any) -> None:
        """A receiver's exception: a fault of ours."""
        _log.exception(message, *arguments)
