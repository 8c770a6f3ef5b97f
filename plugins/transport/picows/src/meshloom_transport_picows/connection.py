"""One WebSocket connection in either role, on picows' protocol class.

Small messages are gathered: what is sent while the event loop works through what has arrived goes to the kernel as
one write. Without it a forwarded packet costs a system call of its own, which is most of what it costs at all.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in their stubs

from meshloom.transport import LONGEST_MESSAGE, Accept, Connection, Receiver

_log = logging.getLogger(__name__)

NAME = "picows"
PATH = "/relay"
HANDSHAKE_WITHIN = 10.0
CLOSE_WITHIN = 3.0
"""Seconds for the request to come or to be answered, and for the other side to take what was sent before a close."""
FIRST_READ = 4 * 1024
MOST_READ = 64 * 1024
"""Bytes of a connection's read buffer at first, and read at once at most: one that has much to say does not hold up
the others, nor does its buffer grow without bound."""
UNSENT = 64 * 1024
"""Bytes waiting for the kernel from which on the connection is full."""

BINARY = WSMsgType.BINARY


class PicowsConnection(WSListener, Connection):
    """An open connection in either role.

    Args:
        receiver: Whom to tell; None on the side that accepts, which is asked once the handshake is done.
        accept: Asks it.
        opened: The connections of this transport that are open.
    """

    transport = NAME
    max_message_size = LONGEST_MESSAGE

    def __init__(self, receiver: Receiver | None, accept: Accept | None, opened: set["PicowsConnection"]) -> None:
        self.remote = ("", 0)
        self._receiver, self._accept, self._opened = receiver, accept, opened
        self._websocket: WSTransport | None = None
        self._parts = bytearray()
        self._full = self._refused = self._closing = False
        self._abort: asyncio.TimerHandle | None = None
        self._reason = "closed by the other side"

    @property
    def is_full(self) -> bool:
        """Whether what is sent now would be dropped."""
        return self._full

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and the connection not lost."""
        return self in self._opened

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
        self._abort = asyncio.get_running_loop().call_later(CLOSE_WITHIN, self.abort)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._websocket = transport
        self._opened.add(self)
        peer = transport.underlying_transport.get_extra_info("peername")
        self.remote = (str(peer[0]), int(peer[1])) if peer else ("", 0)
        if self._accept is not None:
            accept, self._accept = self._accept, None
            self._receiver = accept(self)
            if self._receiver is None:
                self._close(WSCloseCode.TRY_AGAIN_LATER, "refused")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        """A frame; nearly always a whole message."""
        if self._closing:
            return
        if frame.msg_type == BINARY and frame.fin and not self._parts:
            if frame.payload_size > LONGEST_MESSAGE:
                self._close(WSCloseCode.MESSAGE_TOO_BIG, "a message is too long")
            else:
                self._receiver.message_received(frame.get_payload_as_memoryview())  # type: ignore[union-attr]
            return
        self._seldom(frame)

    def _seldom(self, frame: WSFrame) -> None:
        """Messages in fragments, as a proxy may make of them, and everything that is no message."""
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            self._close(WSCloseCode.OK, "closed by the other side")
        elif kind == (WSMsgType.CONTINUATION if self._parts else WSMsgType.BINARY):
            self._parts += frame.get_payload_as_memoryview()
            if len(self._parts) > LONGEST_MESSAGE:
                self._close(WSCloseCode.MESSAGE_TOO_BIG, "a message is too long")
            elif frame.fin:
                whole, self._parts = bytes(self._parts), bytearray()
                self._receiver.message_received(memoryview(whole))  # type: ignore[union-attr]
        elif kind not in (WSMsgType.PING, WSMsgType.PONG):
            self._close(WSCloseCode.UNSUPPORTED_DATA, "a message is not binary")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        """The last call."""
        self._closing = True
        self._opened.discard(self)
        if self._abort is not None:
            self._abort.cancel()
        if self._receiver is not None:
            self._receiver.connection_lost(self._reason)

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        self._full = True

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._full = False
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
            True,  # pings are answered
            LONGEST_MESSAGE,
            None,
            FIRST_READ,
        )

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        transport.set_write_buffer_limits(UNSENT)
        super().connection_made(Gathering(transport))

    def get_buffer(self, hint: int) -> memoryview:
        """Where to read into."""
        whole: memoryview = super().get_buffer(hint)
        return whole[:MOST_READ]


class Gathering:
    """Stands between picows and the event loop's transport: writes of one turn of the loop become one.

    picows sends past the event loop where the transport says that nothing waits, so this one never says so.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self._waiting: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()
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
        """Close after what was sent."""
        self._flush()
        self._inner.close()

    def is_closing(self) -> bool:
        """Whether it is."""
        return self._inner.is_closing()

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._size = self._waiting, [], 0
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
