"""A peer's side of a session on a relay, as a pure state machine."""

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.relay import (
    CLOSE,
    FROM_RELAYS,
    HEAD_SIZE,
    HEALTH_CHECK,
    Auth,
    AuthResponse,
    Buffer,
    Close,
    HealthCheck,
    Kind,
    Packet,
    PeerList,
    RelayPeerID,
    decode,
    encode,
    encode_lists,
    packet_head,
)

AUTH_WITHIN = 8.0
OPEN_WITHIN = 30.0
HEALTH_WITHIN = 35.0
"""Seconds until something was to be heard: the answer to the token, a peer that was asked for, a health check."""
AGAIN = 1.0
"""Seconds until something is said again that was not answered, for transports that lose messages; doubled each time."""
EARLY_FOR, MOST_EARLY = 5.0, 1_000
"""How long, and of how many peers, a first packet is kept that came before the peer was asked for."""


DRAINS = "the relay said that it closes"
"""Why a session ended that the relay ended."""


class State(Enum):
    """Of a session."""

    AUTHENTICATING = auto()
    READY = auto()
    LOST = auto()


@attrs.frozen
class Authenticated:
    """The relay has accepted the token; *url* is what other peers are told of it."""

    url: str


@attrs.frozen
class PeerOnline:
    """A peer that was asked for is at this relay: packets to it are forwarded."""

    peer: RelayPeerID


@attrs.frozen
class PeerOffline:
    """A peer left the relay, or did not come in time (``never_came``); it is watched no longer."""

    peer: RelayPeerID
    never_came: bool = False


@attrs.frozen
class PacketReceived:
    """A packet from a peer that was asked for."""

    peer: RelayPeerID
    payload: bytes


@attrs.frozen
class RelayLost:
    """The session is over: close the connection."""

    reason: str


Event = Authenticated | PeerOnline | PeerOffline | PacketReceived | RelayLost


@attrs.define
class _Question:
    """What the relay was asked and has not answered.

    Args:
        until: When no answer is expected any more.
        due: When to ask again, or ``until``.
    """

    until: float
    due: float
    _gap: float = AGAIN

    @classmethod
    def asked(cls, now: float, within: float) -> "_Question":
        return cls(now + within, now + AGAIN)

    def is_to_be_repeated(self, now: float) -> bool:
        if not self.due <= now < self.until:
            return False
        self._gap *= 2
        self.due = min(now + self._gap, self.until)
        return True


@attrs.define
class RelayClient:
    """Sans-IO client side of the relay protocol.

    After every call: send ``messages_to_send()``, act on ``events()``, and call ``handle_timer`` at ``deadline()``.
    It never reads a clock or a socket. What a relay does not answer is said again, as messages may be lost. Packets
    may go beside it: those to a peer are ``packet_head(peer)`` and the payload; of each message that arrives
    :meth:`packet_source` says whether it is a packet to be used as it is.

    Args:
        id: Of this peer.
        token: As :func:`~meshloom.protocol.relay_token.join_token` makes it.
        now: Seconds of a clock that does not jump; the connection is open.

    Attributes:
        gives_way: Whether another connection is about to take this one's place: asked whether it is there, it leaves.
    """

    id: RelayPeerID
    token: bytes = attrs.field(repr=False)
    now: float
    state: State = attrs.field(default=State.AUTHENTICATING, init=False)
    gives_way: bool = attrs.field(default=False, init=False)
    _shown: _Question | None = attrs.field(default=None, init=False)
    _greeting: _Question = attrs.field(init=False)
    _expected: float = attrs.field(init=False)
    _asked: dict[RelayPeerID, _Question] = attrs.field(factory=dict, init=False)
    _open: dict[bytes, RelayPeerID] = attrs.field(factory=dict, init=False)
    _early: OrderedDict[RelayPeerID, tuple[float, bytes]] = attrs.field(factory=OrderedDict, init=False)
    _out: list[bytes] = attrs.field(factory=list, init=False)
    _events: list[Event] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._greeting = _Question.asked(self.now, AUTH_WITHIN)
        self._expected = self._greeting.until
        self._out.append(encode(Auth(self.id, self.token)))

    def messages_to_send(self) -> list[bytes]:
        """What the relay is to be sent, in order; each once."""
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
        if self.state is State.AUTHENTICATING:
            return self._greeting.due
        shown = [self._shown.due] if self._shown is not None else []
        return min([self._expected, *shown, *(question.due for question in self._asked.values())])

    def show(self, token: bytes, now: float) -> None:
        """Shows a newer token, with which a relay that knows it lets the session go on for longer."""
        self.now = now
        if token == self.token or self.state is State.LOST:
            return
        self.token = token
        self._out.append(encode(Auth(self.id, token)))
        if self.state is State.READY:
            self._shown = _Question.asked(now, AUTH_WITHIN)

    def is_open(self, peer: RelayPeerID) -> bool:
        """Whether packets to the peer are forwarded, as far as is known."""
        return packet_head(peer) in self._open

    def open(self, peers: Iterable[RelayPeerID], now: float) -> None:
        """Ask for peers: each comes online now or within 30 s, or is said to be offline. Once more is no error."""
        self.now = now
        if self.state is not State.READY:
            return
        new = [peer for peer in dict.fromkeys(peers) if peer not in self._asked and not self.is_open(peer)]
        self._asked.update({peer: _Question.asked(now, OPEN_WITHIN) for peer in new})
        self._out += encode_lists(Kind.SUBSCRIBE, new)

    def close(self, peers: Iterable[RelayPeerID], now: float) -> None:
        """Watch peers no longer; nothing is said of them until they are asked for again."""
        self.now = now
        self._forget(dict.fromkeys(peers))

    def end(self, now: float) -> None:
        """Say goodbye; no event follows, close the connection once everything is sent."""
        self.now = now
        if self.state is not State.LOST:
            self._out.append(CLOSE)
            self.state = State.LOST

    def packet_source(self, message: Buffer) -> RelayPeerID | None:
        """Who sent the packet that this message is, the payload being what follows the head.

        None for any other message and for a packet that cannot be used as it is: give it to :meth:`receive_message`.
        """
        return self._open.get(bytes(message[:HEAD_SIZE]))

    def receive_message(self, message: Buffer, now: float) -> None:
        """Something came from the relay; what is no message that we know is ignored."""
        self.now = now
        if self.state is State.LOST:
            return
        try:
            decoded = decode(message, FROM_RELAYS)
        except ProtocolError as error:
            if self.state is State.AUTHENTICATING:
                self._lose(f"the relay answered with something else than an acceptance: {error}")
            return
        if isinstance(decoded, Close):
            self._lose(DRAINS)
        elif self.state is State.READY:
            self._handle(decoded)
        elif isinstance(decoded, Packet):
            self._keep(decoded.peer, decoded.payload)  # the acceptance was lost, or comes later
        else:
            self._authenticate(decoded)

    def connection_lost(self, reason: str, now: float) -> None:
        """The connection is gone."""
        self.now = now
        self._lose(reason)

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        self.now = now
        if self.state is State.LOST:
            return
        if now >= self._expected:
            waited = "answer to the token" if self.state is State.AUTHENTICATING else "health check"
            self._lose(f"no {waited} from the relay in time")
            return
        if self.state is State.AUTHENTICATING:
            if self._greeting.is_to_be_repeated(now):
                self._out.append(encode(Auth(self.id, self.token)))
            return
        if self._shown is not None and self._shown.is_to_be_repeated(now):
            self._out.append(encode(Auth(self.id, self.token)))
        elif self._shown is not None and now >= self._shown.until:
            self._shown = None  # the relay knows no such token
        again = [peer for peer, question in self._asked.items() if question.is_to_be_repeated(now)]
        self._out += encode_lists(Kind.SUBSCRIBE, again)
        late = [peer for peer, question in self._asked.items() if now >= question.until]
        self._forget(dict.fromkeys(late))
        self._events += [PeerOffline(peer, never_came=True) for peer in late]

    def _authenticate(self, message: object) -> None:
        if not isinstance(message, AuthResponse):
            self._lose("the relay answered with something else than an acceptance")
            return
        self.state = State.READY
        self._expected = self.now + HEALTH_WITHIN
        self._events.append(Authenticated(message.url))

    def _handle(self, message: object) -> None:
        match message:
            case HealthCheck() if self.gives_way:
                self._out.append(CLOSE)
                self._lose("another connection takes its place")
            case AuthResponse():
                self._shown = None
            case HealthCheck():
                self._expected = self.now + HEALTH_WITHIN
                self._out.append(HEALTH_CHECK)
            case PeerList(Kind.ONLINE, peers):
                for peer in peers:
                    self._came(peer)
            case PeerList(_, peers):
                gone = [peer for peer in dict.fromkeys(peers) if self.is_open(peer)]
                self._forget(dict.fromkeys(gone))
                self._events += [PeerOffline(peer) for peer in gone]
            case Packet(peer, payload) if self.is_open(peer):
                self._events.append(PacketReceived(peer, payload))
            case Packet(peer, payload):
                self._keep(peer, payload)

    def _came(self, peer: RelayPeerID) -> None:
        if self._asked.pop(peer, None) is None:
            return
        self._open[packet_head(peer)] = peer
        self._events.append(PeerOnline(peer))
        since, payload = self._early.pop(peer, (0.0, b""))
        if payload and self.now - since <= EARLY_FOR:
            self._events.append(PacketReceived(peer, payload))

    def _keep(self, peer: RelayPeerID, payload: bytes) -> None:
        known = self._early.get(peer)
        if known is not None and self.now - known[0] <= EARLY_FOR:
            return  # the first is the handshake that the other side waits for
        self._early[peer] = self.now, payload
        self._early.move_to_end(peer)
        if len(self._early) > MOST_EARLY:
            self._early.popitem(last=False)

    def _forget(self, peers: dict[RelayPeerID, None]) -> None:
        known = [peer for peer in peers if peer in self._asked or self.is_open(peer)]
        for peer in known:
            self._asked.pop(peer, None)
            self._open.pop(packet_head(peer), None)
        if self.state is State.READY:
            self._out += encode_lists(Kind.UNSUBSCRIBE, known)

    def _lose(self, reason: str) -> None:
        if self.state is State.LOST:
            return
        self.state = State.LOST
        self._asked.clear()
        self._open.clear()
        self._early.clear()
        self._events.append(RelayLost(reason))
