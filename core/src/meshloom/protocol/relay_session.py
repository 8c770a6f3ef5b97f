"""A relay's side of one connection, and who is where, as pure state machines."""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Generic, TypeVar

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.relay import (
    CLOSE,
    FROM_PEERS,
    HEALTH_CHECK,
    Auth,
    AuthResponse,
    Buffer,
    Close,
    HealthCheck,
    Kind,
    PeerList,
    RelayPeerID,
    decode,
    encode,
)

AUTH_WITHIN = 10.0
HEALTH_EVERY = 25.0
HEALTH_AGAIN = 5.0
HEALTH_WITHIN = 45.0
"""Seconds: for a peer to say who it is, between health checks, after one that was not answered (a transport may lose
messages), and without an answer to any."""
MOST_WATCHED = 10_000
"""Peers that one peer may watch."""
MOST_BAD = 100
"""Messages that are none, or of a kind that is not known, between two health checks; then a peer is sent away."""


class State(Enum):
    """Of a session."""

    WAITING = auto()
    READY = auto()
    LOST = auto()


@attrs.frozen
class PeerArrived:
    """The peer has shown a good token; the answer is on its way."""

    peer: RelayPeerID


@attrs.frozen
class Watched:
    """The peer wants to know of these; ``new`` are those that it did not watch before."""

    peers: tuple[RelayPeerID, ...]
    new: tuple[RelayPeerID, ...]


@attrs.frozen
class Unwatched:
    """The peer no longer wants to know of these."""

    peers: tuple[RelayPeerID, ...]


@attrs.frozen
class SessionLost:
    """The session is over: close the connection.

    Args:
        reason: A word or two, of a fixed set: also the label of a metric.
    """

    reason: str


Event = PeerArrived | Watched | Unwatched | SessionLost


@attrs.define(eq=False)
class RelaySession:
    """Sans-IO server side of the relay protocol; packets of a ready session go beside it.

    After every call: send ``messages_to_send()``, act on ``events()``, and call ``handle_timer`` at ``deadline()``.

    Args:
        url: What the peer is to tell others of where this relay is.
        check: Why a token is not accepted; empty where it is.
        now: Seconds of a clock that does not jump; the connection is open.
    """

    url: str
    check: Callable[[bytes], str]
    now: float
    state: State = attrs.field(default=State.WAITING, init=False)
    peer: RelayPeerID | None = attrs.field(default=None, init=False)
    watched: set[RelayPeerID] = attrs.field(factory=set, init=False)
    bad: int = attrs.field(default=0, init=False)
    _check_at: float = attrs.field(default=0.0, init=False)
    _until: float = attrs.field(init=False)
    _out: list[bytes] = attrs.field(factory=list, init=False)
    _events: list[Event] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._until = self.now + AUTH_WITHIN

    def messages_to_send(self) -> list[bytes]:
        """What the peer is to be sent, in order; each once."""
        out, self._out = self._out, []
        return out

    def events(self) -> list[Event]:
        """What happened; each once."""
        events, self._events = self._events, []
        return events

    def deadline(self) -> float | None:
        """When ``handle_timer`` is to be called; None where the session is over."""
        if self.state is State.LOST:
            return None
        return self._until if self.state is State.WAITING else min(self._until, self._check_at)

    def receive_message(self, message: Buffer, now: float) -> None:
        """A message of the peer's; packets to peers that are not here are nothing that a session answers."""
        self.now = now
        if self.state is State.LOST:
            return
        try:
            decoded = decode(message, FROM_PEERS)
        except ProtocolError:
            self.bad += 1
            if self.state is State.WAITING or self.bad > MOST_BAD:
                self._lose("malformed message")
            return
        if self.state is State.WAITING:
            self._authenticate(decoded)
            return
        match decoded:
            case HealthCheck():
                self._until, self._check_at = now + HEALTH_WITHIN, now + HEALTH_EVERY
                self.bad = 0
            case Auth(peer) if peer == self.peer:
                self._out.append(encode(AuthResponse(self.url)))  # the first answer may have been lost
            case Close():
                self._lose("closed by the peer")
            case PeerList(Kind.SUBSCRIBE, peers):
                self._watch(peers)
            case PeerList(_, peers):
                self._unwatch(peers)
            case _:
                """A packet, or a token of somebody else."""

    def end(self, now: float) -> None:
        """Tell the peer that the relay closes; close the connection once everything is sent."""
        self.now = now
        if self.state is State.READY:
            self._out.append(CLOSE)
        self.state = State.LOST

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        self.now = now
        if self.state is State.LOST:
            return
        if now >= self._until:
            self._lose("no authentication" if self.state is State.WAITING else "no health check")
        elif self.state is State.READY and now >= self._check_at:
            self._check_at = now + HEALTH_AGAIN
            self._out.append(HEALTH_CHECK)

    def _authenticate(self, message: object) -> None:
        if not isinstance(message, Auth):
            self._lose("no authentication")
            return
        if reason := self.check(message.token):
            self._lose(f"token: {reason}")
            return
        self.state, self.peer = State.READY, message.peer
        self._until, self._check_at = self.now + HEALTH_WITHIN, self.now + HEALTH_EVERY
        self._out.append(encode(AuthResponse(self.url)))
        self._events.append(PeerArrived(message.peer))

    def _watch(self, peers: Iterable[RelayPeerID]) -> None:
        asked = dict.fromkeys(peers)
        new = [peer for peer in asked if peer not in self.watched][: MOST_WATCHED - len(self.watched)]
        self.watched.update(new)
        self._events.append(Watched(tuple(peer for peer in asked if peer in self.watched), tuple(new)))

    def _unwatch(self, peers: Iterable[RelayPeerID]) -> None:
        known = tuple(peer for peer in dict.fromkeys(peers) if peer in self.watched)
        self.watched.difference_update(known)
        self._events.append(Unwatched(known))

    def _lose(self, reason: str) -> None:
        self.state = State.LOST
        self._events.append(SessionLost(reason))


S = TypeVar("S")


@attrs.define
class Whereabouts(Generic[S]):
    """Which peers are at this relay, each on one connection *S*, and who watches whom."""

    here: dict[RelayPeerID, S] = attrs.field(factory=dict)
    _watchers: dict[RelayPeerID, set[S]] = attrs.field(factory=dict)

    def arrive(self, peer: RelayPeerID, connection: S) -> tuple[S | None, frozenset[S]]:
        """A peer has come, perhaps a second time.

        Returns:
            The connection that this one replaces, and those to be told that the peer is here: nobody where it was.
        """
        old = self.here.get(peer)
        self.here[peer] = connection
        return old, frozenset() if old is not None else frozenset(self._watchers.get(peer, ()))

    def leave(self, peer: RelayPeerID, connection: S) -> frozenset[S]:
        """A peer's connection is gone; those to be told: nobody where another replaced it before."""
        if self.here.get(peer) is not connection:
            return frozenset()
        del self.here[peer]
        return frozenset(self._watchers.get(peer, ()))

    def watch(self, connection: S, peers: Iterable[RelayPeerID]) -> None:
        """The connection is to be told of these from now on."""
        for peer in peers:
            self._watchers.setdefault(peer, set()).add(connection)

    def unwatch(self, connection: S, peers: Iterable[RelayPeerID]) -> None:
        """The connection is to be told of these no longer."""
        for peer in peers:
            watching = self._watchers.get(peer, set())
            watching.discard(connection)
            if not watching:
                self._watchers.pop(peer, None)

    def online(self, peers: Iterable[RelayPeerID]) -> list[RelayPeerID]:
        """Those of them that are here."""
        return [peer for peer in peers if peer in self.here]
