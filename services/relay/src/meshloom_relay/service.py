"""The relay: forwards packets between peers that are connected to it, and tells them of each other."""

import logging
import time
from collections.abc import Callable, Sequence

import anyio
from prometheus_client import CollectorRegistry

from meshloom.log import PEER
from meshloom.protocol.relay import Kind, RelayPeerID, check_token, packet_head, secret_key
from meshloom.protocol.relay_session import RelaySession, Whereabouts
from meshloom.transport import Connection, Receiver
from meshloom_relay.limits import Bucket, RelayLimits
from meshloom_relay.metrics import Counts, RelayCollector
from meshloom_relay.peer import RelayPeer

_log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between looks at who is due for a health check or has not answered one."""
DRAIN_WITHIN = 3.0
"""Seconds that peers have to take what was sent to them before a relay that stops."""


class Relay:
    """All connections of one relay.

    Run :meth:`run` in a task group while it is in use.

    Args:
        url: Where peers reach it; every peer is told the same.
        secrets: Any of which tokens may be signed with.
        limits: What it may cost.
        registry: Where its metrics go.
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
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.url, self.limits, self.monotonic = url, limits, monotonic
        self.routes: dict[bytes, RelayPeer] = {}
        self.where: Whereabouts[RelayPeer] = Whereabouts()
        self.counts = Counts()
        self.total = Bucket(limits.total_rate, monotonic) if limits.total_rate else None
        self._keys = [secret_key(secret) for secret in secrets]
        self._now = now
        self._connections: set[RelayPeer] = set()
        self._waiting: dict[RelayPeer, None] = {}
        self._draining = False
        self._empty = anyio.Event()
        registry.register(RelayCollector(self.counts, lambda: len(self._waiting), self._queued))

    def __len__(self) -> int:
        return len(self._connections)

    def accept(self, connection: Connection) -> Receiver | None:
        """A transport's connection; None where there is no room for it."""
        if self._draining or len(self._connections) >= self.limits.peers:
            self.counts.ended["draining" if self._draining else "too many"] += 1
            return None
        if len(self._waiting) >= self.limits.waiting:
            next(iter(self._waiting)).end("too many")
        peer = RelayPeer(self, connection, RelaySession(self.url, self._check, self.monotonic()))
        self._connections.add(peer)
        self._waiting[peer] = None
        return peer

    def new_bucket(self) -> Bucket | None:
        """What one peer may send; None for no bound."""
        return Bucket(self.limits.peer_rate, self.monotonic) if self.limits.peer_rate else None

    async def run(self) -> None:
        """Look after health checks until cancelled."""
        while True:
            await anyio.sleep(EVERY)
            now = self.monotonic()
            for peer in list(self._connections):
                peer.tick(now)

    async def drain(self) -> None:
        """Accept nobody any more, tell all peers to go elsewhere, and wait for them to take what was sent."""
        self._draining = True
        for peer in list(self._connections):
            peer.end("draining")
        with anyio.move_on_after(DRAIN_WITHIN):
            while self._connections:
                self._empty = anyio.Event()
                await self._empty.wait()

    def arrived(self, peer: RelayPeer, id: RelayPeerID) -> None:
        """A peer has shown who it is; an older connection of the same one ends."""
        self._waiting.pop(peer, None)
        self.routes[packet_head(id)] = peer
        old, watching = self.where.arrive(id, peer)
        if old is not None:
            old.end("replaced")
        for each in watching:
            each.tell(Kind.ONLINE, [id])

    def ended(self, peer: RelayPeer, reason: str) -> None:
        """A connection is being closed; nothing goes to it any more."""
        if peer not in self._connections or peer.is_ended:
            return
        peer.is_ended = True
        self.counts.ended[reason] += 1
        level = logging.DEBUG if peer.session.peer is None else logging.INFO  # addresses of strangers fill no log
        _log.log(level, "peer gone (%s): %s", reason, peer.name, extra={PEER: peer.name})
        self._forget(peer)

    def lost(self, peer: RelayPeer) -> None:
        """A connection is gone."""
        self.ended(peer, "connection lost")
        self._connections.discard(peer)
        if not self._connections:
            self._empty.set()

    def _forget(self, peer: RelayPeer) -> None:
        self._waiting.pop(peer, None)
        self.where.unwatch(peer, peer.session.watched)
        id = peer.session.peer
        if id is None:
            return
        peer.left()
        if self.routes.get(packet_head(id)) is peer:
            del self.routes[packet_head(id)]
        watching = self.where.leave(id, peer)
        for each in () if self._draining else watching:  # all of them are told to go
            each.tell(Kind.OFFLINE, [id])

    def _check(self, token: bytes) -> str:
        return check_token(token, self._keys, self._now())

    def _queued(self) -> int:
        return sum(peer.queued for peer in self._connections)
