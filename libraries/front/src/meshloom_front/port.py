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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakSet

import attrs

from meshloom_front.http import HTTP

_log = logging.getLogger(__name__)

PREFACE = b"PRI * HTTP/2.0"
FIRST_BYTES_WITHIN = 10.0
"""Seconds in which a connection must have said what it is; with TLS, also those of the handshake before."""
PIPE_LIMIT = 256 * 1024


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


class SharedTCPPort:
    """Accepts the connections; made by :func:`open_port`."""

    def __init__(self, http: HTTP, grpc_socket: Path, limits: PortLimits) -> None:
        self._http, self._grpc_socket, self._limits = http, grpc_socket, limits
        self._waiting: dict[_Waiting, None] = {}
        self._sources: dict[str, str] = {}
        self._pipes = 0
        self._transports: WeakSet[asyncio.BaseTransport] = WeakSet()

    def connection(self, tls: ssl.SSLContext | None = None) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Connection(self) if tls is None else _Handshake(self, tls)

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
        self._transport: asyncio.Transport | None = None
        self._timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait, for a while."""
        self._transport = transport  # type: ignore[assignment]
        port = self._port
        port._transports.add(transport)  # noqa: SLF001 - the two are one
        waiting, limits = port._waiting, port._limits  # noqa: SLF001
        if port._pipes + len(port._http) + len(waiting) >= limits.connections:  # noqa: SLF001
            self.abort()
            return
        if len(waiting) >= limits.waiting:
            next(iter(waiting)).abort()
        waiting[self] = None
        self._timeout = asyncio.get_running_loop().call_later(FIRST_BYTES_WITHIN, self.abort)

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


class _Handshake(_Waiting):
    """A connection until TLS is agreed on."""

    def __init__(self, port: SharedTCPPort, tls: ssl.SSLContext) -> None:
        super().__init__(port)
        self._tls = tls
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin at once; the client speaks first."""
        super().connection_made(transport)
        if self._timeout is not None:
            self._task = asyncio.get_running_loop().create_task(self._agree())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Nobody to agree with any more."""
        self._decided()

    async def _agree(self) -> None:
        connection = _Connection(self._port)
        raw = self._transport
        if raw is None:
            return
        try:
            made = await asyncio.get_running_loop().start_tls(
                raw, connection, self._tls, server_side=True, ssl_handshake_timeout=FIRST_BYTES_WITHIN
            )
        except OSError as error:  # also ssl.SSLError, and asyncio's aborted handshakes
            _log.debug("a TLS handshake failed: %s", error)
            self.abort()
            return
        finally:
            self._decided()
        if made is not None:
            connection.connection_made(made)


class _Connection(_Waiting):
    """A connection until it has said what it is, and then one side of the pipe to gRPC."""

    def __init__(self, port: SharedTCPPort) -> None:
        super().__init__(port)
        self._buffer = b""
        self._inner: _Inner | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._source = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes; after TLS's handshake they may be here already."""
        super().connection_made(transport)
        if self._buffer:
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """First bytes decide; then everything goes through."""
        if self._inner is not None and self._inner.transport is not None:
            self._inner.transport.write(data)
            return
        self._buffer += data
        if self._transport is None:
            return
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


@asynccontextmanager
async def open_port(
    port: SharedTCPPort, listening: socket.socket, tls: ssl.SSLContext | None
) -> AsyncIterator[asyncio.Server]:
    """Accept connections until leaving, or until the server that is given is closed; leaving ends those still open."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: port.connection(tls), sock=listening, backlog=4096)
    try:
        yield server
    finally:
        server.close()
        port.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
