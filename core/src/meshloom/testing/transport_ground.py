"""Where the transport contract meets a transport: a served port on loopback, behind a valve that can be shut."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs

from meshloom.testing.certificates import Certificate
from meshloom.transport import (
    Accept,
    Connection,
    Receiver,
    RelayAddress,
    ServesDatagrams,
    ServesStreams,
    Transport,
)

WITHIN = 20
"""Seconds in which everything that must happen has happened."""
READ = 65536


async def until(holds: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    with anyio.fail_after(WITHIN):
        while not holds():  # noqa: ASYNC110 - any condition, not only of ours
            await anyio.sleep(0.002)


class Heard(Receiver):
    """What a receiver was told."""

    def __init__(self, *, echo: bool = False) -> None:
        self.messages: list[bytes] = []
        self.lost: list[str] = []
        self.writable_calls = 0
        self.connection: Connection | None = None
        self._echo = echo

    def message_received(self, message: memoryview) -> None:
        """Keep it, and perhaps send it back."""
        self.messages.append(bytes(message))
        if self._echo and self.connection is not None:
            self.connection.send(message)

    def writable(self) -> None:
        """Count it."""
        self.writable_calls += 1

    def connection_lost(self, reason: str) -> None:
        """Keep the reason."""
        self.lost.append(reason)


@attrs.define
class Serving:
    """A relay's side, and how a test reaches it.

    Args:
        refuse: Whether nobody is accepted.
        welcome: Sent to each from within ``accept``.
        admit: Whether each is admitted at once, as if it had said who it is.
        shut: Nothing goes through any more until ``open``.
        rubbish: Sends bytes to the port that are no protocol, as a stranger would.
    """

    address: RelayAddress
    echo: bool = False
    refuse: bool = False
    welcome: bytes = b""
    admit: bool = True
    heard: list[Heard] = attrs.field(factory=list)
    shut: Callable[[], None] = attrs.field(default=lambda: None)
    open: Callable[[], None] = attrs.field(default=lambda: None)
    rubbish: Callable[[bytes], None] = attrs.field(default=lambda _: None)

    def accept(self, connection: Connection) -> Receiver | None:
        """Keep a receiver for it."""
        if self.refuse:
            return None
        made = Heard(echo=self.echo)
        made.connection = connection
        self.heard.append(made)
        if self.admit:
            connection.admit()
        if self.welcome:
            connection.send(self.welcome)
        return made


class TransportGround(ABC):
    """Makes a transport's server side reachable."""

    has_tls = True

    @abstractmethod
    def serving(
        self, transport: Transport, certificate: Certificate | None = None, host: str = "127.0.0.1"
    ) -> AbstractAsyncContextManager[Serving]:
        """Serve until leaving."""


class LoopbackGround(TransportGround):
    """Real sockets on this host."""

    @asynccontextmanager
    async def serving(
        self, transport: Transport, certificate: Certificate | None = None, host: str = "127.0.0.1"
    ) -> AsyncIterator[Serving]:
        """On a TCP port or a UDP port, as the transport is made for."""
        served = Serving(RelayAddress(host, 0, certificate is not None))
        streams = isinstance(transport, ServesStreams)
        if isinstance(transport, ServesStreams):
            serving = _streams(transport, served, certificate, host)
        elif isinstance(transport, ServesDatagrams):
            serving = _datagrams(transport, served, certificate, host)
        else:
            raise TypeError(f"{transport} serves neither streams nor datagrams: give the contract a ground of its own")
        async with serving as port, _valve(served, streams, host, port):
            yield served


@asynccontextmanager
async def _streams(
    transport: ServesStreams, served: Serving, certificate: Certificate | None, host: str
) -> AsyncIterator[int]:
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            chain, key = Path(folder, "chain"), Path(folder, "key")
            chain.write_bytes(certificate.chain)
            key.write_bytes(certificate.key)
            tls.load_cert_chain(chain, key)
    accept: Accept = served.accept
    server = await asyncio.get_running_loop().create_server(
        transport.stream_protocol(accept), host, 0, ssl=tls, backlog=1000
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def _datagrams(
    transport: ServesDatagrams, served: Serving, certificate: Certificate | None, host: str
) -> AsyncIterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    shown = None if certificate is None else (certificate.chain, certificate.key)
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((host, 0))
        made.setblocking(False)
        async with transport.serve(made, None if shown is None else lambda: shown, served.accept):
            yield made.getsockname()[1]


@asynccontextmanager
async def _valve(served: Serving, streams: bool, host: str, port: int) -> AsyncIterator[None]:
    """What all connections of a test go through."""
    make = _stream_valve if streams else _datagram_valve
    async with make(served, host, port) as own:
        served.address = attrs.evolve(served.address, port=own)
        served.rubbish = lambda data: _rubbish(streams, host, port, data)
        yield


def _rubbish(streams: bool, host: str, port: int, data: bytes) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if streams else socket.SOCK_DGRAM) as made:
        made.connect((host, port))
        with contextlib.suppress(OSError):  # a server may hang up at once
            made.sendall(data[:1200] if not streams else data)


class _Half(asyncio.Protocol):
    """One side of a piped TCP connection."""

    def __init__(self, valve: "_StreamValve") -> None:
        self.valve, self.other = valve, None
        self.transport: Any = None
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.valve.halves.append(self)
        if self.valve.is_shut:
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.waiting += data
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.valve.halves.remove(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.valve.is_shut and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class _StreamValve:
    def __init__(self, host: str, port: int) -> None:
        self.where = (host, port)
        self.is_shut = False
        self.opened = asyncio.Event()
        self.opened.set()
        self.halves: list[_Half] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def outer(self) -> _Half:
        made = _Half(self)
        task = asyncio.get_running_loop().create_task(self._join(made))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return made

    async def _join(self, outer: _Half) -> None:
        inner = _Half(self)
        await self.opened.wait()
        try:
            await asyncio.get_running_loop().create_connection(lambda: inner, *self.where)
        except OSError:
            outer.transport.abort()
            return
        inner.other = outer  # type: ignore[assignment]
        outer.other = inner  # type: ignore[assignment]
        inner.transport.write(outer.waiting)
        if outer.transport.is_closing():
            inner.transport.close()

    def shut(self) -> None:
        self.is_shut = True
        self.opened.clear()
        for half in self.halves:
            half.transport.pause_reading()

    def open(self) -> None:
        self.is_shut = False
        self.opened.set()
        for half in self.halves:
            if not half.transport.is_closing():
                half.transport.resume_reading()


@asynccontextmanager
async def _stream_valve(served: Serving, host: str, port: int) -> AsyncIterator[int]:
    valve = _StreamValve(host, port)
    server = await asyncio.get_running_loop().create_server(valve.outer, host, 0, backlog=1000)
    served.shut, served.open = valve.shut, valve.open
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for half in list(valve.halves):
            half.transport.abort()
        valve.opened.set()
        await until(lambda: not valve.halves and not valve.tasks)


@asynccontextmanager
async def _datagram_valve(served: Serving, host: str, port: int) -> AsyncIterator[int]:
    """One outer port; an inner one for each client, as a NAT has."""
    loop = asyncio.get_running_loop()
    inner: dict[Any, socket.socket] = {}
    is_shut = False
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    outer = socket.socket(family, socket.SOCK_DGRAM)
    outer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    outer.bind((host, 0))
    outer.setblocking(False)

    def carry(source: socket.socket, send: Callable[[bytes, Any], Any]) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, address = source.recvfrom(READ)
                if not is_shut:
                    send(data, address)

    def outwards(data: bytes, client: Any) -> None:
        if client not in inner:
            made = inner[client] = socket.socket(family, socket.SOCK_DGRAM)
            made.connect((host, port))
            made.setblocking(False)
            loop.add_reader(made, carry, made, lambda data, _: outer.sendto(data, client))
        inner[client].send(data)

    def turn(shut: bool) -> None:
        nonlocal is_shut
        is_shut = shut

    loop.add_reader(outer, carry, outer, outwards)
    served.shut, served.open = lambda: turn(shut=True), lambda: turn(shut=False)
    try:
        yield outer.getsockname()[1]
    finally:
        for made in (outer, *inner.values()):
            loop.remove_reader(made)
            made.close()
