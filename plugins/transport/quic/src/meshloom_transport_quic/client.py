"""Connecting to a relay: the addresses of its name race each other, a little apart."""

import asyncio
import errno
import socket
from collections.abc import Iterable

import anyio
from aioquic.quic.configuration import QuicConfiguration

from meshloom.errors import TransportError, words_of
from meshloom.transport import Connection, Receiver, RelayAddress, TransportContext
from meshloom_transport_quic import Options
from meshloom_transport_quic.certificates import for_client
from meshloom_transport_quic.library import CONNECTION_ID, Quic
from meshloom_transport_quic.link import Endpoint, Link
from meshloom_transport_quic.sockets import Address, Port, hear_refusals, prepare

APART = 0.3
"""Seconds after which the next address is tried beside those before it (RFC 8305 section 5: 250 ms)."""


class Dialled(Endpoint):
    """A socket of its own for one connection.

    It is bound to no other side, so that the connection lives on when this host's address changes.
    """

    def __init__(self, race: "Race", where: Address, family: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.settled = asyncio.Event()
        self._where = where
        self._is_touched = False
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            prepare(self._socket, race.context)
            hear_refusals(self._socket)
            self._socket.bind(("::" if family == socket.AF_INET6 else "", 0))
            self._port = Port(self._socket, self._received, self._flush, self._failed, self._too_large)
        except OSError:
            self._socket.close()
            raise
        made = Quic(race.quic)
        self._identifiers = {made.host_cid}
        self.link = Link(made, self, race.won, where, is_client=True, options=race.options)

    def start(self) -> None:
        """Begin the handshake."""
        self.link.quic.connect(self._where, self.loop.time())
        self._flush()

    def touch(self, link: Link) -> None:  # noqa: ARG002 - there is one
        """See :meth:`Endpoint.touch`."""
        if not self._is_touched:
            self._is_touched = True
            self.loop.call_soon(self._flush)

    def transmit(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """See :meth:`Endpoint.transmit`."""
        for data, address in datagrams:
            self._port.send(data, address)

    def route(self, identifier: bytes, link: Link | None) -> None:
        """See :meth:`Endpoint.route`."""
        if link is None:
            self._identifiers.discard(identifier)
        else:
            self._identifiers.add(identifier)

    def due(self, link: Link) -> None:
        """See :meth:`Endpoint.due`."""
        link.tick()

    def forget(self, link: Link) -> None:  # noqa: ARG002 - there is one
        """See :meth:`Endpoint.forget`."""
        self.settled.set()
        self._port.close()
        self._socket.close()

    def _received(self, data: bytes, address: Address, now: float) -> None:
        if data and not data[0] & 0x80 and data[1 : 1 + CONNECTION_ID] not in self._identifiers:
            if address == self._where and self.link.quic.is_reset(data):
                self.link.reset()
            return
        self.link.receive(data, address, now)

    def _flush(self) -> None:
        self._is_touched = False
        self.link.flush(self.loop.time())

    def _failed(self, error: OSError) -> None:
        """An open connection outlives times without a network; only that its relay is gone is asked about."""
        if error.errno == errno.EMSGSIZE:
            self.link.too_large()
        elif not self.link.is_open or error.errno == errno.ECONNREFUSED:
            self.link.doubt(error.strerror or str(error))

    def _too_large(self, address: Address) -> None:  # noqa: ARG002 - there is one
        self.link.too_large()


class Race:
    """The attempts at one relay's addresses; the first whose handshake completes is the connection."""

    def __init__(
        self, quic: QuicConfiguration, receiver: Receiver, context: TransportContext, options: Options
    ) -> None:
        self.quic, self.context, self.options = quic, context, options
        self.winner: Link | None = None
        self.failures: list[str] = []
        self._receiver = receiver
        self._attempts: list[Dialled] = []

    def won(self, connection: Connection) -> Receiver | None:
        """The first gets the receiver, the others are refused."""
        if self.winner is not None or not isinstance(connection, Link):
            return None
        self.winner = connection
        for attempt in self._attempts:
            attempt.settled.set()
        return self._receiver

    async def run(self, addresses: Iterable[tuple[Address, int]]) -> None:
        """Until one has won or all have failed."""
        try:
            for where, family in addresses:
                await self._attempt(where, family)
                if self.winner is not None:
                    return
            while self.winner is None and (left := [one for one in self._attempts if not one.link.is_lost]):
                await left[0].settled.wait()
        except BaseException:
            self.winner = None
            raise
        finally:
            for attempt in self._attempts:
                if attempt.link.is_lost:
                    self.failures.append(f"{attempt.link.remote[0]}: {attempt.link.reason}")
                elif attempt.link is not self.winner:
                    attempt.link.abandon()

    async def _attempt(self, where: Address, family: int) -> None:
        """Start one; return when it failed, when one has won, or after a moment."""
        try:
            dialled = Dialled(self, where, family)
        except OSError as error:
            self.failures.append(f"{where[0]}: {words_of(error)}")
            return
        self._attempts.append(dialled)
        dialled.start()
        with anyio.move_on_after(APART):
            await dialled.settled.wait()


async def dial(address: RelayAddress, receiver: Receiver, context: TransportContext, options: Options) -> Link:
    """See :meth:`meshloom.transport.Transport.connect`."""
    if context.proxy:
        raise TransportError(f"{address}: QUIC does not go through an HTTP proxy: use a WebSocket transport")
    loop = asyncio.get_running_loop()
    try:
        found = []
        for host in address.hosts:
            found += await loop.getaddrinfo(host, address.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{address}: the name cannot be resolved: {words_of(error)}") from None
    race = Race(for_client(address, context.extra_roots, options.idle), receiver, context, options)
    await race.run((where, family) for family, _, _, _, where in found if isinstance(where[0], str))
    if race.winner is None:
        raise TransportError(f"{address}: not reachable by QUIC: {'; '.join(race.failures) or 'it has no address'}")
    return race.winner
