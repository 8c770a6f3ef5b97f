"""One TCP port for gRPC and HTTP/1.1: the first bytes of a connection tell which it is.

A gRPC client begins with HTTP/2's preface. Anything else is HTTP/1.1, for uvicorn's protocol class, or where it asks
for the relay's path for the protocol of a transport. Each takes the connection over as it is, with no second socket
and no copy on the way.
With TLS, a browser offers both and gets HTTP/1.1, since the server's own order decides; a gRPC client offers only h2.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

import attrs

from meshloom_front.accepting import Accepting
from meshloom_front.callers import Caller, address_of
from meshloom_front.costs import ACCEPTING, CONNECTION_TAKES, TLS_TAKES
from meshloom_front.crowd import Crowd, network_of
from meshloom_front.http import HTTP
from meshloom_front.http2.frames import PREFACE
from meshloom_front.rpc.server import RPC
from meshloom_front.tls.connection import Rooms, TLSConnection

FIRST_BYTES_WITHIN = 10.0
"""Seconds in which a connection must have said what it is; with TLS, also those of the handshake before."""
UPGRADE_TAKES = 16 << 10
"""Bytes that a connection takes until then with another protocol, beside what is to be sent."""
LONGEST_START = 8 << 10
"""Bytes with which a connection may begin that asks for another protocol: it waits for the answer before it says more
(RFC 6455 section 4.1). What it says before has its cost only when all of it is looked at.
"""
SETTLED_AFTER = 15.0
"""Seconds after which a connection with another protocol has shown who it is to that, or is bounded by it."""


@attrs.frozen
class PortLimits:
    """Bounds of a port.

    Args:
        connections: In all. Where there are so many, those whose callers have not shown who they are give way to new
            ones, the oldest first; further ones are closed at once. From three quarters on, an IPv4 address or a /64 of
            IPv6 that has an eighth of them without showing who calls gives way to its own newcomers. Behind a proxy
            all have one address: that is felt only then.
        waiting: Connections that wait for their turn, and as many that have not said yet what they are or are at TLS's
            handshake; the oldest of the network with the most gives way to a new one.
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
            It bounds by itself those that do not show who they are in :data:`SETTLED_AFTER`.
    """

    path: str
    protocol: Callable[[], Any]

    def begins(self, data: bytes) -> bool | None:
        """Whether these first bytes of a connection ask for it; None where they are too few to tell."""
        start = f"GET {self.path}".encode()
        if len(data) <= len(start):
            return None if start.startswith(data) else False
        return data.startswith(start) and data[len(start) : len(start) + 1] in (b" ", b"?")


class SharedTCPPort:
    """Accepts the connections; made by :func:`open_port`.

    Attributes:
        callers: Whom all of them belong to.
        beginning: How many connections wait for their turn.
        tls: What to agree on first; None without TLS.
    """

    def __init__(self, http: HTTP, rpc: RPC, limits: PortLimits, upgrades: Upgrades | None = None) -> None:
        self.http, self.rpc, self.limits, self.upgrades = http, rpc, limits, upgrades
        self.tls: ssl.SSLContext | None = None
        self._rooms = Rooms()
        self.callers = http.callers = rpc.callers
        self.beginning: Callable[[], int] = int
        self.waiting: Crowd[_Connection] = Crowd()
        self.transports: WeakSet[asyncio.Transport] = WeakSet()

    def connection(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        made = _Connection(self)
        return made if self.tls is None else TLSConnection(self.tls, self._rooms, made)

    def make_room(self, address: str) -> bool:
        """Whether there may be one more connection from there; one that has shown less gives way."""
        return self.callers.make_room(address, len(self.callers) + self.beginning(), self.limits.connections)

    def close(self) -> None:
        """End all connections that are still open."""
        for transport in list(self.transports):
            transport.abort()


class _Connection(asyncio.Protocol):
    """A connection until it has said what it is, and soon: those that do not are bounded in number and time."""

    def __init__(self, port: SharedTCPPort) -> None:
        self._port = port
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._caller: Caller | None = None
        self._timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait, for a while."""
        made: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport = made
        address = address_of(transport)
        port = self._port
        port.transports.add(made)
        network = network_of(address)
        if (leaving := port.waiting.giving_way(network, len(port.waiting), port.limits.waiting)) is not None:
            leaving.abort()
        port.waiting.add(self, network)
        takes = CONNECTION_TAKES + (0 if port.tls is None else TLS_TAKES)
        self._caller = Caller(port.callers, address, takes, self._measure, self.abort, begun=ACCEPTING)
        if isinstance(made, TLSConnection):
            made.caller = self._caller
        self._timeout = asyncio.get_running_loop().call_later(FIRST_BYTES_WITHIN, self.abort)

    def data_received(self, data: bytes) -> None:
        """First bytes decide; then another protocol goes on."""
        port = self._port
        self._buffer += data
        if self._buffer.startswith(PREFACE):
            self._give(port.rpc(self._caller))
        elif not PREFACE.startswith(self._buffer):
            begins = port.upgrades.begins(self._buffer) if port.upgrades else False
            if begins and len(self._buffer) > LONGEST_START:
                self.abort()
            elif begins:
                self._wait_to_upgrade()
            elif begins is not None:
                self._give(port.http(self._caller))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It never said what it is."""
        self._decided()
        if self._caller is not None:
            self._caller.gone()

    def abort(self) -> None:
        """Close at once."""
        self._decided()
        if self._caller is not None:
            self._caller.gone()
        if self._transport is not None:
            self._transport.abort()

    def _measure(self) -> int:
        return len(self._buffer)

    def _decided(self) -> None:
        self._port.waiting.discard(self)
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _give(self, protocol: Any) -> None:
        self._decided()
        if self._transport is not None:
            hand_over(self._transport, protocol, self._buffer)

    def _wait_to_upgrade(self) -> None:
        transport, caller = self._transport, self._caller
        if transport is None or caller is None:
            return
        if caller.may_go_on():
            self._upgrade(transport, caller)
        elif not transport.is_closing():
            transport.pause_reading()
            caller.wait(partial(self._upgrade, transport, caller))

    def _upgrade(self, transport: asyncio.Transport, caller: Caller) -> None:
        """Give the connection away, and go on counting it."""
        protocol = self._port.upgrades.protocol()  # type: ignore[union-attr]
        caller.hand_over(lambda: UPGRADE_TAKES + transport.get_write_buffer_size(), transport.abort)
        settled = asyncio.get_running_loop().call_later(SETTLED_AFTER, caller.accept)
        lost = protocol.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            del protocol.connection_lost
            settled.cancel()
            caller.gone()
            lost(exc)

        protocol.connection_lost = connection_lost
        if isinstance(transport, TLSConnection):
            transport.is_bounded = True
        start = time.thread_time()
        self._give(protocol)
        if not transport.is_closing():
            transport.resume_reading()
        caller.spend(time.thread_time() - start)
        caller.held.set(caller.held.measure())


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
    accepting = Accepting(port.connection, port.limits.waiting, port.make_room, port.callers)
    port.beginning, port.tls = accepting.__len__, tls
    try:
        async with accepting.accepting(listening):
            yield accepting.stop
    finally:
        port.close()
