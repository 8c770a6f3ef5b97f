"""One TCP port for gRPC and HTTP/1.1: the first bytes of a connection tell which it is.

A gRPC client begins with HTTP/2's preface. Anything else is HTTP/1.1, for uvicorn's protocol class, or where it asks
for the relay's path for the protocol of a transport. Each takes the connection over as it is, with no second socket
and no copy on the way.
With TLS, a browser offers both and gets HTTP/1.1, since the server's own order decides; a gRPC client offers only h2.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

import attrs

from meshloom_front.handshakes import BACKLOG, FIRST_BYTES_WITHIN, Handshakes
from meshloom_front.http import HTTP
from meshloom_front.http2.frames import PREFACE
from meshloom_front.rpc.server import RPC


@attrs.frozen
class PortLimits:
    """Bounds of a port.

    Args:
        connections: In all; further ones are closed at once.
        waiting: Connections that have not said yet what they are, or are at TLS's handshake; the oldest gives way to
            a new one.
    """

    connections: int = 20_000
    waiting: int = 1_000

    @classmethod
    def that_fit(cls, files: int) -> "PortLimits":
        """For a process that may have so many files open, and needs some for other things."""
        most = attrs.fields(cls).connections.default
        fit = min(most, max(16, files - 256))
        return cls(fit, min(attrs.fields(cls).waiting.default, max(8, fit // 4)))


@attrs.frozen
class Upgrades:
    """Connections that begin with a request for a path of their own and then speak another protocol.

    Args:
        path: Of the request.
        protocol: Makes what takes a connection over, with its first bytes: an asyncio protocol, perhaps a buffered one.
        opened: How many are open.
    """

    path: str
    protocol: Callable[[], Any]
    opened: Callable[[], int]

    def begins(self, data: bytes) -> bool | None:
        """Whether these first bytes of a connection ask for it; None where they are too few to tell."""
        start = f"GET {self.path}".encode()
        if len(data) <= len(start):
            return None if start.startswith(data) else False
        return data.startswith(start) and data[len(start) : len(start) + 1] in (b" ", b"?")


class SharedTCPPort:
    """Accepts the connections; made by :func:`open_port`."""

    def __init__(self, http: HTTP, rpc: RPC, limits: PortLimits, upgrades: Upgrades | None = None) -> None:
        self._http, self._rpc, self.limits, self._upgrades = http, rpc, limits, upgrades
        self._waiting: dict[_Waiting, None] = {}
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    def connection(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Connection(self)

    def make_room(self) -> bool:
        """Whether there may be one more connection; the oldest of those that have asked for nothing yet gives way."""
        upgraded = self._upgrades.opened() if self._upgrades else 0
        if len(self._rpc) + len(self._http) + len(self._waiting) + upgraded < self.limits.connections:
            return True
        if self._http.end_oldest() or self._rpc.end_oldest():
            return True
        for oldest in self._waiting:
            oldest.abort()
            return True
        return False

    def close(self) -> None:
        """End all connections that are still open."""
        for transport in list(self._transports):
            transport.abort()


class _Waiting(asyncio.Protocol):
    """A connection that has to say something, and soon: those that do not are bounded in number and time."""

    def __init__(self, port: SharedTCPPort) -> None:
        self._port = port
        self.transport: asyncio.Transport | None = None
        self._timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait, for a while."""
        self.transport = transport  # type: ignore[assignment]
        port = self._port
        if transport.get_extra_info("sslcontext") is None:  # those with TLS end with their handshakes' sockets
            port._transports.add(transport)  # type: ignore[arg-type]  # noqa: SLF001 - the two are one
        waiting = port._waiting  # noqa: SLF001
        if not port.make_room():
            self.abort()
            return
        if len(waiting) >= port.limits.waiting:
            next(iter(waiting)).abort()
        waiting[self] = None
        self._timeout = asyncio.get_running_loop().call_later(FIRST_BYTES_WITHIN, self.abort)

    def abort(self) -> None:
        """Close at once."""
        self._decided()
        if self.transport is not None:
            self.transport.abort()

    def _decided(self) -> None:
        self._port._waiting.pop(self, None)  # noqa: SLF001
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None


class _Connection(_Waiting):
    """A connection until it has said what it is."""

    _buffer = b""

    def data_received(self, data: bytes) -> None:
        """First bytes decide; then another protocol goes on."""
        self._buffer += data
        if self._buffer.startswith(PREFACE):
            self._give(self._port._rpc())  # noqa: SLF001
        elif not PREFACE.startswith(self._buffer):
            upgrades = self._port._upgrades  # noqa: SLF001
            begins = upgrades.begins(self._buffer) if upgrades else False
            if begins is not None:
                self._give(upgrades.protocol() if upgrades and begins else self._port._http())  # noqa: SLF001

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It never said what it is."""
        self._decided()

    def _give(self, protocol: Any) -> None:
        self._decided()
        if self.transport is not None:
            hand_over(self.transport, protocol, self._buffer)


def hand_over(transport: asyncio.Transport, protocol: Any, data: bytes) -> None:
    """Let another protocol go on with a connection, from these first bytes of it."""
    if not isinstance(protocol, asyncio.BufferedProtocol):
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)
        return
    transport.pause_reading()  # only when reading starts, the event loop looks where a protocol wants its bytes
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    while data:
        room = memoryview(protocol.get_buffer(len(data)))
        part, data = data[: len(room)], data[len(room) :]
        room[: len(part)] = part
        protocol.buffer_updated(len(part))
    if not transport.is_closing():
        transport.resume_reading()


@asynccontextmanager
async def open_port(
    port: SharedTCPPort, listening: socket.socket, tls: ssl.SSLContext | None
) -> AsyncIterator[Callable[[], None]]:
    """Accept connections until leaving, or until what is given is called; leaving ends those still open."""
    if tls is not None:
        handshakes = Handshakes(port.connection, tls, port.limits.waiting, port.make_room)
        async with handshakes.accepting(listening):
            try:
                yield handshakes.stop
            finally:
                port.close()
        return
    server = await asyncio.get_running_loop().create_server(port.connection, sock=listening, backlog=BACKLOG)
    try:
        yield server.close
    finally:
        server.close()
        port.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
