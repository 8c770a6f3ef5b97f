"""The relay: forwards packets between peers that are connected to it, and tells them of each other."""

import logging
import time
from collections.abc import Callable, Collection, Sequence

import anyio
from prometheus_client import CollectorRegistry

from meshloom.log import PEER
from meshloom.protocol.relay import Kind, RelayPeerID, packet_head
from meshloom.protocol.relay_session import RelaySession
from meshloom.protocol.relay_token import RelayToken, check_token, secret_key
from meshloom.protocol.relay_where import Claims, Whereabouts
from meshloom.transport import Connection, Receiver
from meshloom_relay.backlog import Backlog
from meshloom_relay.limits import Bucket, RelayLimits, Tokens, WatchPool
from meshloom_relay.metrics import Counts, RelayCollector
from meshloom_relay.peer import RelayPeer
from meshloom_relay.waiting import WaitingRoom, source_of

_log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between looks at who is due for a health check or has not answered one."""
DRAIN_WITHIN = 3.0
"""Seconds that peers have to take what was sent to them before a relay that stops."""


Refusal = Callable[[RelayPeerID, RelayToken], str]


def accept_any(_id: RelayPeerID, _token: RelayToken) -> str:
    """Accepts every peer whose token is good: a relay alone does not know who is registered."""
    return ""


class Relay:
    """All connections of one relay.

    Run :meth:`run` in a task group while it is in use.

    Args:
        url: Where peers reach it; every peer is told the same.
        secrets: Any of which tokens may be signed with.
        limits: What it may cost.
        registry: Where its metrics go.
        refusal: Returns why a peer with a good token is not accepted; empty where it is.
        monotonic: Seconds.
        now: Seconds since 1970, for the expiry of tokens.
    """

    def __init__(
        self,
        url: str,
        secrets: Sequence[str],
        limits: RelayLimits,
        registry: CollectorRegistry,
        *,
        refusal: Refusal = accept_any,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.url, self.limits, self.monotonic = url, limits, monotonic
        self.routes: dict[bytes, RelayPeer] = {}
        self.where: Whereabouts[RelayPeer] = Whereabouts()
        self.counts = Counts()
        self.total = Bucket(limits.total_rate, monotonic) if limits.total_rate else None
        self._keys = [secret_key(secret) for secret in secrets]
        self.backlog: Backlog[RelayPeer] = Backlog(limits.total_queue)
        self._now, self._refusal = now, refusal
        self._connections: set[RelayPeer] = set()
        self._waiting: WaitingRoom[RelayPeer] = WaitingRoom(limits.waiting)
        self._claims: Claims[RelayPeer] = Claims()
        self._tokens = Tokens(limits.per_token)
        self._watches = WatchPool(limits.total_watched, limits.peers)
        self._draining = False
        self._empty = anyio.Event()
        registry.register(RelayCollector(self.counts, lambda: len(self._waiting), lambda: self.backlog.held))

    def __len__(self) -> int:
        return len(self._connections)

    def accept(self, connection: Connection) -> Receiver | None:
        """A transport's connection; None where there is no room for it."""
        if self._draining or len(self._connections) - len(self._waiting) >= self.limits.peers:
            self.counts.ended["draining" if self._draining else "too many"] += 1
            return None
        session = RelaySession(self.url, self._check, self.monotonic())
        peer = RelayPeer(self, connection, session)
        session.room = lambda wanted: self._room(session, wanted)
        self._connections.add(peer)
        if (leaves := self._waiting.add(peer, source_of(peer.source))) is not None:
            leaves.end("too many")
        return peer

    def new_bucket(self) -> Bucket | None:
        """What one peer may send; None for no bound."""
        return Bucket(self.limits.peer_rate, self.monotonic) if self.limits.peer_rate else None

    async def run(self) -> None:
        """Look after health checks and claims until cancelled."""
        while True:
            await anyio.sleep(EVERY)
            self.tick(self.monotonic())

    def tick(self, now: float) -> None:
        """Does what is due."""
        for peer in list(self._connections):
            peer.tick(now)
        for id in self._claims.due(now):
            if (claimant := self._claims.settle(id)) is not None:
                self._admit(claimant, id)

    async def drain(self) -> None:
        """Accept nobody any more, tell all peers to go elsewhere, and wait for them to take what was sent."""
        self._draining = True
        for peer in list(self._connections):
            peer.end("draining")
        with anyio.move_on_after(DRAIN_WITHIN):
            while self._connections:
                self._empty = anyio.Event()
                await self._empty.wait()

    def remove(self, id: RelayPeerID) -> None:
        """Sends a peer away at once; whether it may come again, ``refusal`` says."""
        for each in (self.where.here.get(id), self._claims.settle(id)):
            if each is not None:
                each.refuse("removed")

    def shed(self) -> None:
        """Drops what waits for the slowest readers until it is no more than it may be."""
        while self.backlog.is_over:
            self.backlog.largest().shed()

    # -- what connections tell ---------------------------------------------------------------------------------

    def claimed(self, peer: RelayPeer, id: RelayPeerID, token: RelayToken) -> None:
        """A connection has shown a good token for an id, which another connection may have."""
        self._waiting.discard(peer)
        if reason := self._refusal(id, token):
            peer.refuse(reason)
            return
        if token.peer is None:
            if not self._tokens.take(token.mark):
                peer.refuse("token: too many peers")
                return
            peer.mark = token.mark
        holder = self.where.here.get(id)
        admitted, earlier = self._claims.claim(
            id, peer, is_held=holder is not None, is_named=token.peer is not None, now=self.monotonic()
        )
        if earlier is not None:
            earlier.refuse("peer is here")
        if admitted:
            self._admit(peer, id)
        elif holder is not None:
            holder.ask()

    def answered(self, peer: RelayPeer) -> None:
        """A peer is there: who claims its id is sent away."""
        id = peer.session.peer
        if id is not None and (claimant := self._claims.settle(id)) is not None:
            claimant.refuse("peer is here")

    def renewed(self, peer: RelayPeer) -> None:
        """A peer's token is one with its name now."""
        if peer.mark:
            self._tokens.give_back(peer.mark)
            peer.mark = b""

    def unwatched(self, peer: RelayPeer, ids: Collection[RelayPeerID]) -> None:
        """A peer no longer watches some others."""
        self.where.unwatch(peer, ids)
        self._watches.give_back(len(peer.session.watched) + len(ids), len(ids))

    def ended(self, peer: RelayPeer, reason: str) -> None:
        """A connection is being closed; nothing goes to it any more."""
        if peer not in self._connections or peer.is_ended:
            return
        peer.is_ended = True
        self.counts.ended[reason] += 1
        level = logging.INFO if peer.is_here else logging.DEBUG  # those who never were peers fill no log
        _log.log(level, "peer gone (%s): %s", reason, peer.name, extra={PEER: peer.name})
        self._forget(peer)

    def lost(self, peer: RelayPeer) -> None:
        """A connection is gone."""
        self.ended(peer, "connection lost")
        self._connections.discard(peer)
        if not self._connections:
            self._empty.set()

    def _admit(self, peer: RelayPeer, id: RelayPeerID) -> None:
        """Makes a connection the one of that peer; an older one ends."""
        self.routes[packet_head(id)] = peer
        old, watching = self.where.arrive(id, peer)
        peer.admit(id)
        if old is not None:
            old.end("replaced")
        for each in watching:
            each.tell(Kind.ONLINE, [id])

    def _forget(self, peer: RelayPeer) -> None:
        self._waiting.discard(peer)
        watched = len(peer.session.watched)
        self.where.unwatch(peer, peer.session.watched)
        self._watches.give_back(watched, watched)
        self.renewed(peer)
        id = peer.session.peer
        if id is not None:
            self._claims.withdraw(id, peer)
            if peer.is_here and not self._draining and (claimant := self._claims.settle(id)) is not None:
                self._admit(claimant, id)  # in its place: nobody needs to be told
        peer.left()
        if id is None or self.where.here.get(id) is not peer:
            return
        del self.routes[packet_head(id)]
        watching = self.where.leave(id, peer)
        for each in () if self._draining else watching:  # all of them are told to go
            each.tell(Kind.OFFLINE, [id])

    def _room(self, session: RelaySession, wanted: int) -> int:
        granted = self._watches.take(len(session.watched), wanted)
        self.counts.unwatched += wanted - granted
        return granted

    def _check(self, token: bytes) -> RelayToken | str:
        return check_token(token, self._keys, self._now())
