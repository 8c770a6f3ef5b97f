"""A transport in memory: connections between whoever shares a network, with room that ends and a valve to shut.

It keeps the contract of transports (:class:`meshloom.testing.contracts.transport.TransportContract`).
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio.lowlevel
import attrs

from meshloom.backend import Backend
from meshloom.errors import TransportError
from meshloom.testing.certificates import Certificate
from meshloom.testing.transport_ground import Serving, TransportGround
from meshloom.transport import (
    LONGEST_MESSAGE,
    LONGEST_OF_STRANGER,
    Accept,
    Connection,
    Receiver,
    RelayAddress,
    Transport,
    TransportContext,
)

ROOM = 256
"""Messages under way in one direction; what comes on top is refused."""
CLOSE_WITHIN = 1.0
NAME = "memory"


@attrs.define
class MemoryRelays:
    """The network that transports of one test share: who serves where.

    Args:
        shut: Addresses that nothing reaches or leaves for now.
        lose: Every how many messages one is lost; 0 for none.
    """

    served: dict[tuple[str, int], Accept] = attrs.field(factory=dict)
    shut: set[tuple[str, int]] = attrs.field(factory=set)
    lose: int = 0
    ends: set["MemoryConnection"] = attrs.field(factory=set)
    _ports: Iterator[int] = attrs.field(factory=lambda: itertools.count(40000))

    @contextmanager
    def serve(self, address: tuple[str, int], accept: Accept) -> Iterator[None]:
        """Be a relay at that address until leaving; all its connections end then."""
        self.served[address] = accept
        try:
            yield
        finally:
            del self.served[address]
            for end in [end for end in self.ends if end.relay == address]:
                end.close()

    def open(self, address: tuple[str, int]) -> None:
        """Let everything through again that waits."""
        self.shut.discard(address)
        for end in list(self.ends):
            end.wake()

    def next_port(self) -> int:
        """Of a client."""
        return next(self._ports)


@attrs.define(eq=False)
class MemoryConnection(Connection):
    """One end of a connection."""

    network: MemoryRelays
    relay: tuple[str, int]
    remote: tuple[str, int]
    transport: str = NAME
    max_message_size: int = LONGEST_MESSAGE
    longest: int = LONGEST_MESSAGE
    receiver: Receiver | None = None
    other: "MemoryConnection" = attrs.field(init=False)
    _waiting: deque[bytes] = attrs.field(factory=deque)
    _sent: int = 0
    is_closing: bool = False
    is_lost: bool = False
    _has_refused: bool = False

    def send(self, message: bytes | bytearray | memoryview, rest: bytes | bytearray | memoryview = b"") -> bool:
        """See :meth:`Connection.send`."""
        if self.is_closing or self.is_full or len(message) + len(rest) > self.max_message_size:
            self._has_refused = True
            return False
        self._sent += 1
        if not self.network.lose or self._sent % self.network.lose:
            self._waiting.append(b"".join((message, rest)))
            self.wake()
        return True

    @property
    def is_full(self) -> bool:
        """See :meth:`Connection.is_full`."""
        return len(self._waiting) >= ROOM

    def close(self) -> None:
        """See :meth:`Connection.close`."""
        if not self.is_closing:
            self.is_closing = True
            self.wake()
            asyncio.get_running_loop().call_later(CLOSE_WITHIN, self.end, "closed by this side")

    def admit(self) -> None:
        """See :meth:`Connection.admit`."""
        self.longest = LONGEST_MESSAGE

    def wake(self) -> None:
        """Deliver soon what waits."""
        asyncio.get_running_loop().call_soon(self._deliver)

    def end(self, reason: str) -> None:
        """Tell both receivers, once."""
        for end, why in ((self, reason), (self.other, "closed by the other side")):
            if not end.is_lost:
                end.is_lost = end.is_closing = True
                self.network.ends.discard(end)
                if end.receiver is not None:
                    end.receiver.connection_lost(why)

    def _deliver(self) -> None:
        if self.relay in self.network.shut or self.is_lost:
            return
        while self._waiting and not self.is_lost:
            message = self._waiting.popleft()
            if len(message) > self.other.longest:
                self.other.end("a message is too long")
            elif self.other.receiver is not None and not self.other.is_closing:
                self.other.receiver.message_received(memoryview(message))
        if self.is_closing:
            self.end("closed by this side")
        elif self._has_refused and self.receiver is not None:
            self._has_refused = False
            self.receiver.writable()


class MemoryTransport(Transport):
    """Connects in a network in memory.

    Attributes:
        host: The address that relays see.
    """

    def __init__(self, network: MemoryRelays) -> None:
        self.network, self.host = network, "192.0.2.1"
        self._connected: list[MemoryConnection] = []

    async def connect(self, address: RelayAddress, receiver: Receiver) -> Connection:
        """See :meth:`Transport.connect`."""
        place = (address.ip or address.host, address.port)
        await anyio.lowlevel.checkpoint()
        while place in self.network.shut:  # noqa: ASYNC110 - who opens it is no task of ours
            await anyio.sleep(0.01)
        accept = self.network.served.get(place)
        if accept is None:
            raise TransportError(f"{address} cannot be reached: nobody is there")
        near = MemoryConnection(self.network, place, place, receiver=receiver)
        far = MemoryConnection(self.network, place, (self.host, self.network.next_port()), longest=LONGEST_OF_STRANGER)
        near.other, far.other = far, near
        self.network.ends |= {near, far}
        far.receiver = accept(far)
        if far.receiver is None:
            near.receiver = None
            far.end("refused")
            raise TransportError(f"{address} cannot be reached: it refuses")
        self._connected.append(near)
        return near

    def close(self) -> None:
        """End what was connected."""
        for connection in self._connected:
            connection.end("closed by this side")


@attrs.frozen
class Options:
    """None."""


def memory_transport(network: MemoryRelays) -> Backend[TransportContext, Transport]:
    """The backend whose transports share that network."""

    @asynccontextmanager
    async def opened(_options: Options, _context: TransportContext) -> AsyncIterator[Transport]:
        transport = MemoryTransport(network)
        try:
            yield transport
        finally:
            transport.close()

    return Backend(NAME, Options, opened)


class MemoryGround(TransportGround):
    """Where the contract meets transports in memory."""

    has_tls = False

    def __init__(self, network: MemoryRelays) -> None:
        self._network = network
        self._ports = itertools.count(1)

    @asynccontextmanager
    async def serving(
        self,
        transport: Transport,  # noqa: ARG002 - any of the network's reaches any other
        certificate: Certificate | None = None,  # noqa: ARG002
        host: str = "127.0.0.1",
    ) -> AsyncIterator[Serving]:
        """At the next free port."""
        place = (host, next(self._ports))
        served = Serving(RelayAddress(*place, tls=False))
        served.shut = lambda: self._network.shut.add(place)
        served.open = lambda: self._network.open(place)
        with self._network.serve(place, served.accept):
            yield served
