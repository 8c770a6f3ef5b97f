"""One TCP port for gRPC and HTTP/1.1: the first bytes of a connection tell which it is.

A gRPC client begins with HTTP/2's preface; its bytes are piped to grpc's own server on a unix socket, with
back-pressure both ways. Anything else is HTTP/1.1, and the connection is handed over to uvicorn's protocol class.
With TLS, a browser offers both and gets HTTP/1.1, since the server's own order decides; a gRPC client offers only h2.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakSet

import attrs
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_log = logging.getLogger(__name__)

PREFACE = b"PRI * HTTP/2.0"
FIRST_BYTES_WITHIN = 10.0
"""Seconds in which a connection must have said what it is."""
PIPE_LIMIT = 256 * 1024


@attrs.frozen
class PortLimits:
    """Bounds of a port.

    Args:
        connections: In all; further ones are closed at once.
        waiting: Connections that have not said yet what they are; the oldest gives way to a new one.
    """

    connections: int = 20_000
    waiting: int = 1_000


class SharedTCPPort:
    """Accepts the connections; made by :func:`open_port`."""

    def __init__(self, http: Callable[[], asyncio.Protocol], grpc_socket: Path, limits: PortLimits) -> None:
        self._http, self._grpc_socket, self._limits = http, grpc_socket, limits
        self._waiting: dict[_Connection, None] = {}
        self._sources: dict[str, str] = {}
        self._pipes = 0
        self._transports: WeakSet[asyncio.BaseTransport] = WeakSet()

    def connection(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Connection(self)

    def close(self) -> None:
        """End all connections that are still open."""
        for transport in list(self._transports):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    def address_of(self, peer: str) -> str:
        """The address behind gRPC's name of a connection (``unix-abstract:NAME``); empty where it is not known."""
        return self._sources.get(peer.removeprefix("unix-abstract:"), "")


class _Connection(asyncio.Protocol):
    """A connection until it has said what it is, and then one side of the pipe to gRPC."""

    def __init__(self, port: SharedTCPPort) -> None:
        self._port = port
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._inner: _Inner | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._source = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, for a while."""
        self._transport = transport  # type: ignore[assignment]
        self._port._transports.add(transport)  # noqa: SLF001 - the two are one
        waiting = self._port._waiting  # noqa: SLF001
        if self._port._pipes + len(waiting) >= self._port._limits.connections:  # noqa: SLF001
            self.abort()
            return
        if len(waiting) >= self._port._limits.waiting:  # noqa: SLF001
            next(iter(waiting)).abort()
        waiting[self] = None
        self._timeout = asyncio.get_running_loop().call_later(FIRST_BYTES_WITHIN, self.abort)

    def data_received(self, data: bytes) -> None:
        """First bytes decide; then everything goes through."""
        if self._inner is not None and self._inner.transport is not None:
            self._inner.transport.write(data)
            return
        self._buffer += data
        if self._connecting is not None:
            if len(self._buffer) > PIPE_LIMIT and self._transport is not None:
                self._transport.pause_reading()
        elif self._buffer.startswith(PREFACE):
            self._decided()
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        elif not PREFACE.startswith(self._buffer[: len(PREFACE)]):
            self._decided()
            self._become_http()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The other end is gone: so is gRPC's."""
        self._decided()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._inner is not None and self._inner.transport is not None:
            self._inner.transport.close()

    def pause_writing(self) -> None:
        """The client reads slowly: gRPC waits."""
        if self._inner is not None and self._inner.transport is not None:
            self._inner.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._inner is not None and self._inner.transport is not None:
            self._inner.transport.resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self._decided()
        if self._transport is not None:
            self._transport.abort()

    def _decided(self) -> None:
        self._port._waiting.pop(self, None)  # noqa: SLF001
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _become_http(self) -> None:
        if self._transport is None:
            return
        protocol = self._port._http()  # noqa: SLF001
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._buffer)

    async def _connect(self) -> None:
        """Open gRPC's side from a socket whose name tells the client's address."""
        port, transport = self._port, self._transport
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
            inner.close()
            port._sources.pop(self._source, None)  # noqa: SLF001
            _log.error("gRPC cannot be reached behind the port: %s", error)
            self.abort()
            return
        if self._inner.transport is not None:
            self._inner.transport.write(self._buffer)
        self._buffer = b""
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
        outer = self._outer._transport  # noqa: SLF001
        if outer is not None:
            outer.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._outer._port._pipes -= 1  # noqa: SLF001
        self._outer._port._sources.pop(self._outer._source, None)  # noqa: SLF001
        outer = self._outer._transport  # noqa: SLF001
        if outer is not None:
            outer.close()

    def pause_writing(self) -> None:
        outer = self._outer._transport  # noqa: SLF001
        if outer is not None:
            outer.pause_reading()

    def resume_writing(self) -> None:
        outer = self._outer._transport  # noqa: SLF001
        if outer is not None:
            outer.resume_reading()


def http_protocol(app: object) -> Callable[[], asyncio.Protocol]:
    """Makes the protocol of an HTTP/1.1 connection for an ASGI application."""
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, server_header=False)  # type: ignore[arg-type]
    config.load()
    state = uvicorn.server.ServerState()
    return lambda: HttpToolsProtocol(config=config, server_state=state, app_state={})


@asynccontextmanager
async def open_port(port: SharedTCPPort, listening: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Accept connections until leaving."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(port.connection, sock=listening, ssl=tls, backlog=4096)
    try:
        yield
    finally:
        server.close()
        port.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
