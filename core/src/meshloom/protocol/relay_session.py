"""A relay's side of one connection, as a pure state machine."""

import math
from collections.abc import Callable, Iterable
from enum import Enum, auto

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
from meshloom.protocol.relay_token import RelayToken

AUTH_WITHIN = 10.0
HEALTH_EVERY = 25.0
HEALTH_AGAIN = 5.0
HEALTH_WITHIN = 45.0
"""Seconds: for a peer to say who it is, between health checks, after one that was not answered (a transport may lose
messages), and without an answer to any."""
MOST_WATCHED = 10_000
"""Peers that one peer may watch, however many all of them together may."""
MOST_BAD = 100
"""Messages that are none, or of a kind that is not known, between two health checks; then a peer is sent away."""


class State(Enum):
    """Of a session."""

    WAITING = auto()
    CLAIMING = auto()
    READY = auto()
    LOST = auto()


@attrs.frozen
class PeerClaims:
    """The peer has shown a good token: call ``admit`` or ``refuse``, now or later."""

    peer: RelayPeerID
    token: RelayToken


@attrs.frozen
class TokenRenewed:
    """The peer has shown a token that is good for longer; the session goes on with it."""

    old: RelayToken
    new: RelayToken


@attrs.frozen
class PeerAnswered:
    """The peer has answered the health check that ``ask`` sent."""


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


Event = PeerClaims | TokenRenewed | PeerAnswered | Watched | Unwatched | SessionLost


@attrs.define(eq=False)
class RelaySession:
    """Sans-IO server side of the relay protocol; packets of a ready session go beside it.

    After every call: send ``messages_to_send()``, act on ``events()``, and call ``handle_timer`` at ``deadline()``.
    The session ends when its token does, unless the peer has shown a newer one by then.

    Args:
        url: What the peer is to tell others of where this relay is.
        check: Returns the token that a peer showed, or why it is not accepted.
        now: Seconds of a clock that does not jump; the connection is open.
        room: Returns how many more peers may be watched, of a number that it is asked for.

    Attributes:
        token: What the peer has shown; None until then.
    """

    url: str
    check: Callable[[bytes], RelayToken | str]
    now: float
    room: Callable[[int], int] = lambda number: number
    token: RelayToken | None = attrs.field(default=None, init=False)
    state: State = attrs.field(default=State.WAITING, init=False)
    peer: RelayPeerID | None = attrs.field(default=None, init=False)
    watched: set[RelayPeerID] = attrs.field(factory=set, init=False)
    bad: int = attrs.field(default=0, init=False)
    _check_at: float = attrs.field(default=0.0, init=False)
    _until: float = attrs.field(init=False)
    _ends: float = attrs.field(default=math.inf, init=False)
    _shown: bytes = attrs.field(default=b"", init=False, repr=False)
    _is_asked: bool = attrs.field(default=False, init=False)
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
        return min(self._until, self._check_at, self._ends) if self.state is State.READY else self._until

    def admit(self, now: float) -> None:
        """Accepts the peer that claims its id."""
        if self.state is State.CLAIMING:
            self.now, self.state = now, State.READY
            self._until, self._check_at = now + HEALTH_WITHIN, now + HEALTH_EVERY
            self._out.append(encode(AuthResponse(self.url)))

    def refuse(self, reason: str, now: float) -> None:
        """Sends the peer away, whether it was accepted or not."""
        self.now = now
        if self.state is not State.LOST:
            self._lose(reason)

    def ask(self, now: float) -> None:
        """Asks the peer whether it is there; ``PeerAnswered`` follows if it is."""
        self.now = now
        if self.state is State.READY:
            self._is_asked = True
            self._out.append(HEALTH_CHECK)

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
        elif self.state is State.READY:
            self._handle(decoded)
        elif isinstance(decoded, Close):
            self._lose("closed by the peer")

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
            self._lose("no health check" if self.state is State.READY else "no authentication")
        elif now >= self._ends:
            self._lose("token ended")
        elif self.state is State.READY and now >= self._check_at:
            self._check_at = now + HEALTH_AGAIN
            self._out.append(HEALTH_CHECK)

    def _authenticate(self, message: object) -> None:
        if not isinstance(message, Auth):
            self._lose("no authentication")
            return
        token = self.check(message.token)
        if isinstance(token, str):
            self._lose(f"token: {token}")
        elif token.peer not in (None, message.peer):
            self._lose("token: another peer's")
        else:
            self.state, self.peer = State.CLAIMING, message.peer
            self.token, self._ends, self._shown = token, self.now + token.left, bytes(message.token)
            self._events.append(PeerClaims(message.peer, token))

    def _handle(self, message: object) -> None:
        match message:
            case HealthCheck():
                self._until, self._check_at = self.now + HEALTH_WITHIN, self.now + HEALTH_EVERY
                self.bad = 0
                if self._is_asked:
                    self._is_asked = False
                    self._events.append(PeerAnswered())
            case Auth(peer, token) if peer == self.peer:
                self._renew(token)
            case Close():
                self._lose("closed by the peer")
            case PeerList(Kind.SUBSCRIBE, peers):
                self._watch(peers)
            case PeerList(_, peers):
                self._unwatch(peers)
            case _:
                """A packet, or a token of somebody else."""

    def _renew(self, shown: bytes) -> None:
        """Takes a token that is shown once more: the first answer was lost, or the peer has a newer one.

        Only tokens that name the peer lengthen a session: a classic one may be anybody's.
        """
        if shown != self._shown:
            token, old = self.check(shown), self.token
            if old is None or isinstance(token, str) or token.peer != self.peer:
                self.bad += 1
                return
            if token.expires > old.expires or old.peer is None:
                self.token, self._ends, self._shown = token, self.now + token.left, bytes(shown)
                self._events.append(TokenRenewed(old, token))
        self._out.append(encode(AuthResponse(self.url)))

    def _watch(self, peers: Iterable[RelayPeerID]) -> None:
        asked = dict.fromkeys(peers)
        new = [peer for peer in asked if peer not in self.watched][: MOST_WATCHED - len(self.watched)]
        new = new[: self.room(len(new))]
        self.watched.update(new)
        self._events.append(Watched(tuple(peer for peer in asked if peer in self.watched), tuple(new)))

    def _unwatch(self, peers: Iterable[RelayPeerID]) -> None:
        known = tuple(peer for peer in dict.fromkeys(peers) if peer in self.watched)
        self.watched.difference_update(known)
        self._events.append(Unwatched(known))

    def _lose(self, reason: str) -> None:
        self.state = State.LOST
        self._events.append(SessionLost(reason))
