"""One TCP port for gRPC and HTTP/1.1: the first bytes of a connection tell which it is.

A gRPC client begins with HTTP/2's preface; its bytes are piped to grpc's own server on a unix socket, with
back-pressure both ways. Anything else is HTTP/1.1, and the connection is handed over to uvicorn's protocol class, or
where it asks for the relay's path to the protocol of a transport, with no second socket and no copy on the way.
With TLS, a browser offers both and gets HTTP/1.1, since the server's own order decides; a gRPC client offers only h2.
"""

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import attrs

from meshloom_front.handshakes import BACKLOG, FIRST_BYTES_WITHIN, Handshakes
from meshloom_front.http import HTTP

_log = logging.getLogger(__name__)

PREFACE = b"PRI * HTTP/2.0"
PIPE_LIMIT = 256 * 1024
PROVEN = 256
"""Bytes after which a connection that speaks HTTP/2 has asked for something: more than its greeting and settings."""


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
        """For a process that may have so many files open: one of gRPC takes three, and the server has others, too."""
        most = attrs.fields(cls).connections.default
        fit = min(most, max(16, (files - 256) // 3))
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

    def __init__(self, http: HTTP, grpc_socket: Path, limits: PortLimits, upgrades: Upgrades | None = None) -> None:
        self._http, self._grpc_socket, self.limits, self._upgrades = http, grpc_socket, limits, upgrades
        self._waiting: dict[_Waiting, None] = {}
        self._unproven: dict[_Connection, None] = {}
        self._sources: dict[str, str] = {}
        self._pipes = 0
        self._transports: WeakSet[asyncio.BaseTransport] = WeakSet()

    def connection(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Connection(self)

    def make_room(self) -> bool:
        """Whether there may be one more connection; the oldest of those that have asked for nothing yet gives way."""
        upgraded = self._upgrades.opened() if self._upgrades else 0
        if self._pipes + len(self._http) + len(self._waiting) + upgraded < self.limits.connections:
            return True
        if self._http.end_oldest():
            return True
        for oldest in (*itertools.islice(self._unproven, 1), *itertools.islice(self._waiting, 1)):
            oldest.abort()
            return True
        return False

    def close(self) -> None:
        """End all connections that are still open."""
        for transport in list(self._transports):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    def address_of(self, peer: str) -> str:
        """The address behind gRPC's name of a connection (``unix-abstract:NAME``); empty where it is not known."""
        return self._sources.get(peer.removeprefix("unix-abstract:"), "")


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
            port._transports.add(transport)  # noqa: SLF001 - the two are one
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
    """A connection until it has said what it is, and then one side of the pipe to gRPC."""

    def __init__(self, port: SharedTCPPort) -> None:
        super().__init__(port)
        self._buffer = b""
        self._inner: _Inner | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._source = ""
        self._said = 0

    def data_received(self, data: bytes) -> None:
        """First bytes decide; then everything goes through."""
        if self._said <= PROVEN:
            self._said += len(data)
            if self._said > PROVEN:
                self._port._unproven.pop(self, None)  # noqa: SLF001
        if self._inner is not None:
            if (inner := _usable(self._inner)) is not None:
                inner.write(data)
            return
        self._buffer += data
        if self._connecting is not None:
            if len(self._buffer) > PIPE_LIMIT and self.transport is not None:
                self.transport.pause_reading()
        elif self._buffer.startswith(PREFACE):
            self._decided()
            if self._said <= PROVEN:
                self._port._unproven[self] = None  # noqa: SLF001
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        elif not PREFACE.startswith(self._buffer[: len(PREFACE)]):
            self._look_at_request()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The other end is gone: so is gRPC's."""
        self._decided()
        self._port._unproven.pop(self, None)  # noqa: SLF001
        if self._connecting is not None:
            self._connecting.cancel()
        if (inner := _usable(self._inner)) is not None:
            inner.close()

    def abort(self) -> None:
        """Close at once."""
        self._port._unproven.pop(self, None)  # noqa: SLF001
        super().abort()

    def pause_writing(self) -> None:
        """The client reads slowly: gRPC waits."""
        if (inner := _usable(self._inner)) is not None:
            inner.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if (inner := _usable(self._inner)) is not None:
            inner.resume_reading()

    def _look_at_request(self) -> None:
        upgrades = self._port._upgrades  # noqa: SLF001
        begins = upgrades.begins(self._buffer) if upgrades else False
        if begins is None:
            return
        self._decided()
        if self.transport is not None:
            hand_over(self.transport, upgrades.protocol() if upgrades and begins else self._port._http(), self._buffer)  # noqa: SLF001

    async def _connect(self) -> None:
        """Open gRPC's side from a socket whose name tells the client's address."""
        port, transport = self._port, self.transport
        if transport is None:
            return
        peer = transport.get_extra_info("peername")
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.setblocking(False)
        try:
            inner.bind("")  # Linux picks an abstract name (unix(7), autobind): gRPC sees it as the peer's
            self._source = inner.getsockname().decode(errors="replace").strip("\0")
            port._sources[self._source] = str(peer[0]) if peer else ""  # noqa: SLF001
            loop = asyncio.get_running_loop()
            await loop.sock_connect(inner, str(port._grpc_socket))  # noqa: SLF001
            _, self._inner = await loop.create_unix_connection(lambda: _Inner(self), sock=inner)
        except OSError as error:
            _log.error("gRPC cannot be reached behind the port: %s", error)
            self.abort()
            return
        finally:
            if self._inner is None:  # also where the client left meanwhile, and this task was cancelled
                inner.close()
                port._sources.pop(self._source, None)  # noqa: SLF001
        self._inner_opened()

    def _inner_opened(self) -> None:
        buffered, self._buffer = self._buffer, b""
        if (inner := _usable(self._inner)) is not None:
            inner.write(buffered)
        if (transport := _usable(self)) is not None:
            transport.resume_reading()


class _Inner(asyncio.Protocol):
    """gRPC's side of a pipe."""

    def __init__(self, outer: _Connection) -> None:
        self._outer = outer
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._outer._port._pipes += 1  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        if (outer := _usable(self._outer)) is not None:
            outer.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._outer._port._pipes -= 1  # noqa: SLF001
        self._outer._port._sources.pop(self._outer._source, None)  # noqa: SLF001
        if (outer := _usable(self._outer)) is not None:
            outer.close()

    def pause_writing(self) -> None:
        if (outer := _usable(self._outer)) is not None:
            outer.pause_reading()

    def resume_writing(self) -> None:
        if (outer := _usable(self._outer)) is not None:
            outer.resume_reading()


def _usable(side: _Connection | _Inner | None) -> asyncio.Transport | None:
    """A side's transport; None where it is closed, since uvloop raises where asyncio does nothing."""
    transport = side.transport if side is not None else None
    return None if transport is None or transport.is_closing() else transport


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
