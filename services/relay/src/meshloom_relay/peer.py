"""One connection of the relay: its session, what waits for it, and the way of a packet."""

import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from meshloom.log import PEER
from meshloom.protocol.relay import HEAD_SIZE, Kind, RelayPeerID, encode_lists, id_text, packet_head
from meshloom.protocol.relay_session import (
    PeerAnswered,
    PeerClaims,
    RelaySession,
    SessionLost,
    State,
    TokenRenewed,
    Unwatched,
    Watched,
)
from meshloom.protocol.relay_token import RelayToken
from meshloom.protocol.relay_where import Whereabouts
from meshloom.transport import Connection, Receiver
from meshloom_relay.backlog import OVERHEAD, Backlog
from meshloom_relay.limits import Bucket, RelayLimits
from meshloom_relay.metrics import Counts

_log = logging.getLogger(__name__)

MOST_TOLD, LONGEST_TOLD = 2_000, 1 << 20
"""Messages about other peers and health checks that wait for one that does not read, and their bytes; then it is sent
away."""


class Relay(Protocol):
    """The relay as its connections know it.

    Attributes:
        routes: Who is here, by the head of packets to each.
        where: Who is here, and who watches whom.
        counts: What happened.
        backlog: What waits for each connection.
        total: What all may send together; None for no bound.
        limits: What each may cost.
        monotonic: Seconds.
    """

    routes: dict[bytes, "RelayPeer"]
    where: Whereabouts["RelayPeer"]
    counts: Counts
    backlog: Backlog["RelayPeer"]
    total: Bucket | None
    limits: RelayLimits
    monotonic: Callable[[], float]

    def new_bucket(self) -> Bucket | None:
        """Makes what one connection may send; None for no bound."""

    def claimed(self, peer: "RelayPeer", id: RelayPeerID, token: RelayToken) -> None:
        """Decides about a connection that has shown a good token for an id."""

    def answered(self, peer: "RelayPeer") -> None:
        """Takes note that a peer is there."""

    def renewed(self, peer: "RelayPeer") -> None:
        """Takes note that a peer has shown a token with its name."""

    def unwatched(self, peer: "RelayPeer", ids: Collection[RelayPeerID]) -> None:
        """Takes note that a peer no longer watches some others."""

    def ended(self, peer: "RelayPeer", reason: str) -> None:
        """Takes note that a connection is being closed."""

    def lost(self, peer: "RelayPeer") -> None:
        """Takes note that a connection is gone."""

    def shed(self) -> None:
        """Drops what waits for the slowest readers, where it is too much."""


class RelayPeer(Receiver):
    """A connection, from the first byte on; made for each by the relay.

    Attributes:
        is_here: Whether it is the peer's one connection now.
        mark: The token that it is counted for; empty for none.
        queued: Bytes of packets that wait for it.
    """

    __slots__ = (
        "_bucket",
        "_connection",
        "_head",
        "_queue",
        "_relay",
        "_routes",
        "_told",
        "_told_bytes",
        "_total",
        "_traffic",
        "is_ended",
        "is_here",
        "mark",
        "queued",
        "session",
    )

    def __init__(self, relay: Relay, connection: Connection, session: RelaySession) -> None:
        self._relay, self._connection, self.session = relay, connection, session
        self._routes = relay.routes
        self._traffic = relay.counts.of(connection.transport)
        self._bucket, self._total = relay.new_bucket(), relay.total
        self._head = b""
        self._told: deque[bytes] | None = None
        self._queue: deque[bytes] | None = None
        self.queued = self._told_bytes = 0
        self.is_ended = self.is_here = False
        self.mark = b""

    @property
    def source(self) -> str:
        """Returns the address that it comes from."""
        return self._connection.remote[0]

    @property
    def name(self) -> str:
        """For the log: who it is where that is known, else from where."""
        return id_text(self.session.peer) if self.session.peer else "{}:{}".format(*self._connection.remote)

    def message_received(self, message: memoryview) -> None:
        """A packet goes on at once, its head replaced; anything else is the session's."""
        target = self._routes.get(bytes(message[:HEAD_SIZE]))
        if target is None or not self._head:
            self._seldom(message)
            return
        size = len(message)
        traffic = self._traffic
        traffic.packets_in += 1
        traffic.bytes_in += size
        if (self._bucket is not None and not self._bucket.take(size)) or (
            self._total is not None and not self._total.take(size)
        ):
            self._relay.counts.dropped["rate limit"] += 1
            return
        target.deliver(self._head, message[HEAD_SIZE:], size)

    def deliver(self, head: bytes, payload: memoryview, size: int) -> None:
        """Send a packet, or keep it until there is room."""
        if self._queue or not self._connection.send(head, payload):
            self._keep(head, payload, size)
            return
        traffic = self._traffic
        traffic.packets_out += 1
        traffic.bytes_out += size

    def writable(self) -> None:
        """There is room again: what the relay says goes first, then packets in order."""
        while self._told:
            if not self._connection.send(self._told[0]):
                return
            self._kept(told=-len(self._told.popleft()))
        while self._queue:
            packet = self._queue[0]
            if not (sent := self._connection.send(packet)) and len(packet) <= self._connection.max_message_size:
                return
            self._queue.popleft()
            self._kept(-len(packet) - OVERHEAD)
            if not sent:  # the connection's path has become narrower
                self._relay.counts.dropped["too long"] += 1
                continue
            self._traffic.packets_out += 1
            self._traffic.bytes_out += len(packet)

    def connection_lost(self, reason: str) -> None:
        """The connection is gone."""
        self._relay.lost(self)
        _log.debug("connection of %s: %s", self.name, reason)

    def left(self) -> None:
        """It is no peer here any more, though its connection may still be there."""
        if self.is_here:
            self.is_here = False
            self._traffic.peers -= 1
        self._kept(-self.queued, -self._told_bytes)
        self._queue, self._told = None, None

    def tick(self, now: float) -> None:
        """Time has passed."""
        deadline = self.session.deadline()
        if deadline is not None and now >= deadline:
            self.session.handle_timer(now)
            self.act()

    def say(self, message: bytes) -> None:
        """Send something of the relay's own, in order; it is never dropped for want of room."""
        if self.is_ended or (not self._told and self._connection.send(message)):
            return
        if self._told is None:
            self._told = deque()
        self._told.append(message)
        self._kept(told=len(message))
        if len(self._told) > MOST_TOLD or self._told_bytes > LONGEST_TOLD:
            self.end("too slow")
        else:
            self._relay.shed()

    def end(self, reason: str) -> None:
        """Close, telling the peer where the session still stands."""
        if self.session.state is not State.LOST:
            self.session.end(self._relay.monotonic())
        for message in self.session.messages_to_send():
            self._connection.send(message)
        self._relay.ended(self, reason)
        self._connection.close()

    def act(self) -> None:
        """Do what the session says."""
        session, relay = self.session, self._relay
        for message in session.messages_to_send():
            self.say(message)
        for event in session.events():
            match event:
                case PeerClaims(peer, token):
                    relay.claimed(self, peer, token)
                case TokenRenewed():
                    relay.renewed(self)
                case PeerAnswered():
                    relay.answered(self)
                case Watched(peers, new):
                    relay.where.watch(self, new)
                    self.tell(Kind.ONLINE, relay.where.online(peers))
                case Unwatched(peers):
                    relay.unwatched(self, peers)
                case SessionLost(reason):
                    self.end(reason)

    def admit(self, id: RelayPeerID) -> None:
        """Becomes the one connection of that peer."""
        self._head, self.is_here = packet_head(id), True
        self._connection.admit()
        self._traffic.peers += 1
        _log.info("peer connected by %s: %s", self._connection.transport, self.name, extra={PEER: self.name})
        _log.debug("%s is at %s:%d", self.name, *self._connection.remote, extra={PEER: self.name})
        self.session.admit(self._relay.monotonic())
        self.act()

    def refuse(self, reason: str) -> None:
        """Sends the peer away."""
        self.session.refuse(reason, self._relay.monotonic())
        self.act()

    def ask(self) -> None:
        """Asks the peer whether it is there."""
        self.session.ask(self._relay.monotonic())
        self.act()

    def shed(self) -> None:
        """Drops the oldest packet for want of room in the relay; ends where only the relay's own messages wait."""
        if self._queue:
            self._kept(-len(self._queue.popleft()) - OVERHEAD)
            self._relay.counts.dropped["total queue"] += 1
        else:
            self.end("too slow")

    def tell(self, kind: Kind, peers: list[RelayPeerID]) -> None:
        """Tell the peer of others that have come or are gone."""
        for message in encode_lists(kind, peers):
            self.say(message)

    def _seldom(self, message: memoryview) -> None:
        """Not a packet to a peer that is here."""
        if self._head and len(message) >= HEAD_SIZE and message[0] == 1 and message[1] == Kind.PACKET:
            self._traffic.packets_in += 1
            self._traffic.bytes_in += len(message)
            self._relay.counts.dropped["unknown peer"] += 1
            return
        self.session.receive_message(message, self._relay.monotonic())
        self.act()

    def _keep(self, head: bytes, payload: memoryview, size: int) -> None:
        dropped = self._relay.counts.dropped
        if size > self._connection.max_message_size:
            dropped["too long"] += 1
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(b"".join((head, payload)))
        self._kept(size + OVERHEAD)
        while self.queued > self._relay.limits.queue:
            self._kept(-len(self._queue.popleft()) - OVERHEAD)
            dropped["slow reader"] += 1
        self._relay.shed()

    def _kept(self, packets: int = 0, told: int = 0) -> None:
        """Counts what waits for the peer."""
        before = self.queued + self._told_bytes
        self.queued += packets
        self._told_bytes += told
        self._relay.backlog.move(self, before, self.queued + self._told_bytes)
