"""Serving on one UDP port: which connection a datagram belongs to, and what is done with those that belong to none."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from functools import partial

import anyio
import attrs
from aioquic._buffer import Buffer
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from meshloom.transport import Accept, Connection, Receiver
from meshloom.transport_bounds import Allowance
from meshloom_transport_quic import Options
from meshloom_transport_quic.certificates import Shown
from meshloom_transport_quic.fairness import Source, source_of
from meshloom_transport_quic.half_open import HANDSHAKE, Begun, HalfOpen
from meshloom_transport_quic.library import CONNECTION_ID, RESET_TOKEN, Quic
from meshloom_transport_quic.link import DRAIN, STRANGERS_PACKET, Endpoint, Link
from meshloom_transport_quic.sockets import Address, Port
from meshloom_transport_quic.turns import Turns

logger = logging.getLogger(__name__)

SMALLEST_INITIAL = 1200
"""Bytes of the smallest datagram that may begin a connection (RFC 9000 section 14.1)."""
RETRY_FROM = 64
"""Half-open connections, and datagrams that wait, from which on a client must prove its address first (RFC 9000 section
8.1.2)."""
ANSWERS = 1000
"""Retries and version negotiations a second at most: each costs some forty microseconds of a core."""
RESETS = 100
"""Stateless resets a second at most."""
OVERDUE = 4
"""Handshakes that took too long and are ended in one iteration of the event loop."""
LATER = 0.25
"""Seconds after which the timer of one who is not admitted runs out again, where there was no time for it."""


@attrs.frozen
class First:
    """A datagram that begins a connection, and the connection identifiers of before a retry and of the retry."""

    data: bytes
    address: Address
    identifier: bytes
    original: bytes
    retried: bytes | None
    source: Source


@attrs.frozen
class Later:
    """A datagram of a connection that is not admitted."""

    data: bytes
    address: Address
    link: Link


class Server(Endpoint):
    """The connections of one port."""

    def __init__(self, listening: socket.socket, shown: Shown, accept: Accept, options: Options) -> None:
        self.loop = asyncio.get_running_loop()
        self.links: set[Link] = set()
        self.half_open: HalfOpen[Link] = HalfOpen()
        self._shown, self._accept, self._options = shown, accept, options
        self._routes: dict[bytes, Link] = {}
        self._identifiers: dict[Link, set[bytes]] = {}
        self._sources: dict[Link, Source] = {}
        self._touched: set[Link] = set()
        self._ticking: set[Link] = set()
        self._is_flush_due = False
        self._retry = QuicRetryTokenHandler()
        self._begun = Begun()
        self._largest = max(STRANGERS_PACKET, options.largest_packet)
        self.turns: Turns[First | Later | Link] = Turns(self._serve, self._too_late)
        now = self.loop.time()
        self._resets, self._answers = Allowance(RESETS, RESETS, now), Allowance(ANSWERS, ANSWERS, now)
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._emptied = asyncio.Event()
        self._versions = shown.current().supported_versions
        self._port = Port(listening, self._received, self._flush, self._failed, self._too_large, answers=True)

    async def close(self) -> None:
        """Close all connections and leave the socket."""
        self._is_closing = True
        for link in list(self.links):
            link.close()
        with anyio.move_on_after(DRAIN + 1, shield=True):
            if self.links:
                self._emptied.clear()
                await self._emptied.wait()
        for link in list(self.links):
            link.abandon()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.turns.close()
        self._port.close()

    def touch(self, link: Link) -> None:
        """See :meth:`Endpoint.touch`."""
        self._touched.add(link)
        if not self._is_flush_due:
            self._is_flush_due = True
            self.loop.call_soon(self._flush)

    def transmit(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """See :meth:`Endpoint.transmit`."""
        for data, address in datagrams:
            self._port.send(data, address)

    def route(self, identifier: bytes, link: Link | None) -> None:
        """See :meth:`Endpoint.route`."""
        if link is not None:
            self._routes[identifier] = link
            self._identifiers[link].add(identifier)
        elif (owner := self._routes.pop(identifier, None)) is not None:
            self._identifiers[owner].discard(identifier)

    def due(self, link: Link) -> None:
        """See :meth:`Endpoint.due`."""
        if link.is_known:
            link.tick()
        elif link not in self._ticking and link in self._sources:
            self._ticking.add(link)
            self.turns.offer(link, self._sources[link])

    def forget(self, link: Link) -> None:
        """See :meth:`Endpoint.forget`."""
        for identifier in self._identifiers.pop(link, ()):
            del self._routes[identifier]
        self.half_open.discard(link)
        self.links.discard(link)
        self._sources.pop(link, None)
        self._touched.discard(link)
        if not self.links:
            self._emptied.set()

    def _received(self, data: bytes, address: Address, now: float) -> None:
        if data and not data[0] & 0x80:
            link = self._routes.get(data[1 : 1 + CONNECTION_ID])
            if link is None:
                self._reset(data, address, now)
            elif link.is_known:
                link.receive(data, address, now)
            else:
                self._stranger(link, data, address, now)
            return
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID)
        except ValueError:
            return
        link = self._routes.get(header.destination_cid)
        if link is None:
            if (first := self._begin(header, data, address, now)) is not None:
                self.turns.offer(first, first.source)
        elif link.is_known:
            link.receive(data, address, now)
        else:
            self._stranger(link, data, address, now)

    def _stranger(self, link: Link, data: bytes, address: Address, now: float) -> None:
        if link.takes(len(data), now):
            self.turns.offer(Later(data, address, link), self._sources[link])

    def _serve(self, work: "First | Later | Link") -> None:
        """Does what is the turn of one who is not admitted, including what is to be sent for it."""
        now = self.loop.time()
        if isinstance(work, Link):
            self._ticking.discard(work)
            work.tick()
            return
        link = work.link if isinstance(work, Later) else self._routes.get(work.identifier) or self._opened(work, now)
        link.receive(work.data, work.address, now)
        if link.is_lost:
            return
        if link.quic.has_begun:
            self._touched.discard(link)
            link.flush(now)
        else:
            link.abandon()

    def _too_late(self, work: "First | Later | Link") -> None:
        """A datagram is as lost; a timer runs out again."""
        if isinstance(work, Link):
            self._ticking.discard(work)
            work.postpone(LATER)

    def _begin(self, header: QuicHeader, data: bytes, address: Address, now: float) -> First | None:
        """Tells whether the packet asks for a new connection in a way that may be answered."""
        if not SMALLEST_INITIAL <= len(data) <= self._largest or header.version is None or self._is_closing:
            return None
        if header.version not in self._versions:
            if header.packet_type is not QuicPacketType.VERSION_NEGOTIATION and self._answers.take(now):
                self._port.send(
                    encode_quic_version_negotiation(
                        source_cid=header.destination_cid,
                        destination_cid=header.source_cid,
                        supported_versions=self._versions,
                    ),
                    address,
                )
            return None
        if header.packet_type is not QuicPacketType.INITIAL:
            return None
        original, retried = header.destination_cid, None
        proven = self._proven(header, address, now)
        if proven is not None:
            original, retried = proven, header.destination_cid
        elif len(self.half_open) + len(self.turns) >= RETRY_FROM or self.turns.is_short:
            self._ask_again(header, address, now)
            return None
        source = source_of(address)
        if not self._begun.take(source.own, now):
            return None
        return First(data, address, header.destination_cid, original, retried, source)

    def _opened(self, first: First, now: float) -> Link:
        """A new connection, for which another may have to give way."""
        link = self._open(first)
        if (gone := self.half_open.add(link, first.source, now)) is not None:
            gone.abandon()
        if self._sweeper is None:
            self._sweeper = self.loop.call_at(now + HANDSHAKE, self._sweep)
        return link

    def _open(self, first: First) -> Link:
        quic = Quic(
            self._shown.current(),
            original=first.original,
            retried=first.retried,
            reset_token=self._shown.reset_token,
        )
        link = Link(quic, self, self._accepted, first.address, is_client=False, options=self._options)
        self.links.add(link)
        self._identifiers[link] = set()
        self._sources[link] = first.source
        self.route(first.identifier, link)
        self.route(quic.host_cid, link)
        return link

    def _accepted(self, connection: Connection) -> Receiver | None:
        if isinstance(connection, Link):
            self.half_open.discard(connection)
        return self._accept(connection)

    def _proven(self, header: QuicHeader, address: Address, now: float) -> bytes | None:
        """The connection identifier of before a retry, if the packet brings back our token."""
        if not header.token:
            return None
        try:
            return self._retry.validate_token(
                address=address, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            return None

    def _ask_again(self, header: QuicHeader, address: Address, now: float) -> None:
        """Keep nothing, and have the client come again with a token that only its address receives."""
        if not self._answers.take(now):
            return
        identifier = os.urandom(CONNECTION_ID)
        token = self._retry.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=identifier,
            now=now,
        )
        self._port.send(
            encode_quic_retry(
                version=header.version or 0,
                source_cid=identifier,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            ),
            address,
        )

    def _reset(self, data: bytes, address: Address, now: float) -> None:
        """Say that the connection is not known, in fewer bytes than came (RFC 9000 section 10.3)."""
        size = min(len(data) - 1, 42)
        if size < 21:
            return
        if self._resets.take(now):
            noise = os.urandom(size - RESET_TOKEN)
            token = self._shown.reset_token(data[1 : 1 + CONNECTION_ID])
            self._port.send(bytes([noise[0] & 0x3F | 0x40]) + noise[1:] + token, address)

    def end_overdue(self, now: float) -> None:
        """Forgets handshakes that take too long, a few at a time, and looks again when the next one does."""
        for link in self.half_open.overdue(now)[:OVERDUE]:
            self.turns.pay(link.abandon, self._sources[link])
        due = self.half_open.next_due()
        self._sweeper = None if due is None else self.loop.call_at(due, self._sweep)

    def _sweep(self) -> None:
        self.end_overdue(self.loop.time())

    def _flush(self) -> None:
        self._is_flush_due = False
        now = self.loop.time()
        touched, self._touched = self._touched, set()
        for link in touched:
            if link.is_known or link not in self._sources:
                link.flush(now)
            else:
                self.turns.pay(partial(link.flush, now), self._sources[link])

    def _failed(self, error: OSError) -> None:
        logger.debug("QUIC: %s", error)

    def _too_large(self, address: Address) -> None:
        for link in self.links:
            if link.quic.get_peer_address() == address:
                link.too_large()
