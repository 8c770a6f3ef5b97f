"""WireGuard as its timers and its roaming have it, without its cryptography, in virtual time.

A packet says plainly who sends it to whom in which session, and is believed, since nobody in the laboratory forges
one. Names and durations are those of the protocol's paper, section 6.
"""

from collections.abc import Callable, Mapping
from random import Random

import attrs

from meshloom.model.keys import PublicKey
from meshloom.protocol.stun import Address
from meshloom.testing.lab.clock import VirtualClock

REKEY_AFTER = 120.0
REJECT_AFTER = 180.0
REKEY_ATTEMPT = 90.0
REKEY_TIMEOUT = 5.0
KEEPALIVE_TIMEOUT = 10.0

INITIATION, RESPONSE, DATA = b"\x01\0\0\0", b"\x02\0\0\0", b"\x04\0\0\0"
SIZES = {INITIATION: 148, RESPONSE: 92, DATA: 32}
"""Bytes of each message, without a payload's."""
KEY = 32
HEADER = 4 + 2 * KEY + 4


@attrs.frozen
class WireGuardPeer:
    """How a peer is configured.

    Args:
        keepalive: Seconds of persistent keepalive, or None.
        session: Another number asks for a peer that knows no session.
    """

    endpoint: Address | None
    keepalive: float | None = None
    session: int = 0


@attrs.frozen
class _Session:
    id: bytes
    since: float
    is_initiator: bool


@attrs.define(eq=False)
class _Peer:
    config: WireGuardPeer
    endpoint: Address | None = None
    session: _Session | None = None
    next_session: _Session | None = None  # of a responder, until its first data packet
    known: dict[bytes, float] = attrs.field(factory=dict)  # sessions that may still be received on, and since when
    initiation: bytes = b""
    initiated_at: float = -REKEY_TIMEOUT
    attempts_until: float = 0.0
    handshake_at: float | None = None
    queued: list[bytes] = attrs.field(factory=list)
    sent_at: float = 0.0
    heard_at: float = 0.0
    traffic: int = 0
    generations: dict[str, int] = attrs.field(factory=dict)


class SimulatedWireGuard:
    """One device.

    Args:
        send: Sends a datagram from the device's port.
        deliver: Gets a peer's payload; an empty one is not delivered.
    """

    def __init__(
        self,
        clock: VirtualClock,
        random: Random,
        own: PublicKey,
        send: Callable[[bytes, Address], None],
        deliver: Callable[[PublicKey, bytes], None],
    ) -> None:
        self._clock, self._random, self._own = clock, random, own
        self._send_datagram, self._deliver = send, deliver
        self._peers: dict[bytes, _Peer] = {}
        self.peers: frozenset[PublicKey] = frozenset()
        """Those that are configured."""

    def apply(self, peers: Mapping[PublicKey, WireGuardPeer]) -> None:
        """Be configured so; what did not change keeps its session."""
        self.peers = frozenset(peers)
        wanted = {key.raw: config for key, config in peers.items()}
        for gone in self._peers.keys() - wanted.keys():
            del self._peers[gone]
        for key, config in wanted.items():
            peer = self._peers.get(key)
            if peer is None or peer.config.session != config.session:
                peer = self._peers[key] = _Peer(WireGuardPeer(None))
            before, peer.config = peer.config, config
            if config.endpoint is not None and config.endpoint != before.endpoint:
                peer.endpoint = config.endpoint
            if config.keepalive and not before.keepalive:
                self._send(key, peer, b"")

    def set_endpoint(self, key: PublicKey, endpoint: Address) -> None:
        """Send there from now on, until a packet comes from elsewhere; nothing else changes."""
        peer = self._peers.get(key.raw)
        if peer is not None:
            peer.endpoint = endpoint

    def close(self) -> None:
        """The device is gone, and its timers with it."""
        self.peers = frozenset()
        self._peers.clear()

    def send(self, receiver: PublicKey, payload: bytes) -> None:
        """A packet for a peer; one that is not configured gets nothing."""
        peer = self._peers.get(receiver.raw)
        if peer is not None:
            self._send(receiver.raw, peer, payload)

    def endpoint(self, peer: PublicKey) -> Address | None:
        """Where the device sends to now."""
        found = self._peers.get(peer.raw)
        return found.endpoint if found else None

    def handshakes(self) -> dict[PublicKey, float | None]:
        """When the last handshake with each peer was."""
        return {PublicKey.of(key): peer.handshake_at for key, peer in self._peers.items()}

    def traffic(self) -> dict[PublicKey, int]:
        """Bytes exchanged with each peer, as the device counts them."""
        return {PublicKey.of(key): peer.traffic for key, peer in self._peers.items()}

    def receive(self, data: bytes, source: Address) -> None:
        """A datagram that is WireGuard's."""
        if len(data) < HEADER or data[4 + KEY : 4 + 2 * KEY] != self._own.raw:
            return
        key = data[4 : 4 + KEY]
        peer = self._peers.get(key)
        if peer is None:
            return
        peer.traffic += SIZES[data[:4]] + len(data) - HEADER if data[:4] in SIZES else 0
        kind, session = data[:4], data[HEADER - 4 : HEADER]
        if kind == INITIATION:
            self._receive_initiation(key, peer, session, source)
        elif kind == RESPONSE and session == peer.initiation:
            self._receive_response(key, peer, session, source)
        elif kind == DATA:
            self._receive_data(key, peer, session, data[HEADER:], source)

    # -- handshakes --------------------------------------------------------------------------------------------

    def _initiate(self, key: bytes, peer: _Peer, *, is_retry: bool = False) -> None:
        now = self._clock.now
        if now - peer.initiated_at < REKEY_TIMEOUT:
            return
        if not is_retry:
            peer.attempts_until = now + REKEY_ATTEMPT
        peer.initiated_at, peer.initiation = now, self._random.randbytes(4)
        self._emit(key, peer, INITIATION, peer.initiation)
        self._later(key, peer, "retry", REKEY_TIMEOUT + self._random.random() / 3, self._retry)

    def _retry(self, key: bytes, peer: _Peer) -> None:
        if not peer.initiation:
            return
        if self._clock.now >= peer.attempts_until:
            peer.initiation = b""
            peer.queued.clear()
            return
        self._initiate(key, peer, is_retry=True)

    def _receive_initiation(self, key: bytes, peer: _Peer, session: bytes, source: Address) -> None:
        now = self._clock.now
        peer.endpoint, peer.heard_at, peer.handshake_at = source, now, now
        peer.next_session = _Session(session, now, is_initiator=False)
        self._know(peer, session)
        self._emit(key, peer, RESPONSE, session)

    def _receive_response(self, key: bytes, peer: _Peer, session: bytes, source: Address) -> None:
        now = self._clock.now
        peer.endpoint, peer.heard_at, peer.handshake_at = source, now, now
        peer.initiation, peer.next_session = b"", None
        peer.session = _Session(session, now, is_initiator=True)
        self._know(peer, session)
        queued, peer.queued = peer.queued, []
        for payload in queued or [b""]:
            self._send(key, peer, payload)

    def _know(self, peer: _Peer, session: bytes) -> None:
        peer.known = dict([*peer.known.items()][-2:]) | {session: self._clock.now}

    # -- data --------------------------------------------------------------------------------------------------

    def _receive_data(self, key: bytes, peer: _Peer, session: bytes, payload: bytes, source: Address) -> None:
        now = self._clock.now
        if peer.next_session is not None and peer.next_session.id == session:
            peer.session, peer.next_session = peer.next_session, None
            queued, peer.queued = peer.queued, []
            for waiting in queued:
                self._send(key, peer, waiting)
        if now - peer.known.get(session, -REJECT_AFTER) >= REJECT_AFTER:
            return
        current = peer.session
        peer.endpoint, peer.heard_at = source, now
        peer.generations.pop("answer", None)
        self._plan_keepalive(key, peer)
        if (
            current is not None
            and current.is_initiator
            and now - current.since >= REJECT_AFTER - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
        ):
            self._initiate(key, peer)
        if payload:
            if "passive" not in peer.generations:
                self._later(key, peer, "passive", KEEPALIVE_TIMEOUT, self._keep_alive)
            self._deliver(PublicKey.of(key), payload)

    def _send(self, key: bytes, peer: _Peer, payload: bytes) -> None:
        now, session = self._clock.now, peer.session
        self._plan_keepalive(key, peer)
        if session is None or now - session.since >= REJECT_AFTER:
            peer.session = None
            if payload:
                peer.queued = [*peer.queued[-7:], payload]
            if not peer.initiation:
                self._initiate(key, peer)
            return
        peer.sent_at = now
        peer.generations.pop("passive", None)
        self._emit(key, peer, DATA, session.id, payload)
        if payload and "answer" not in peer.generations:
            self._later(key, peer, "answer", KEEPALIVE_TIMEOUT + REKEY_TIMEOUT, self._initiate)
        if session.is_initiator and now - session.since >= REKEY_AFTER:
            self._initiate(key, peer)

    def _keep_alive(self, key: bytes, peer: _Peer) -> None:
        self._send(key, peer, b"")

    def _keep_alive_for_ever(self, key: bytes, peer: _Peer) -> None:
        if peer.config.keepalive:
            self._send(key, peer, b"")

    def _plan_keepalive(self, key: bytes, peer: _Peer) -> None:
        if peer.config.keepalive:
            self._later(key, peer, "persistent", peer.config.keepalive, self._keep_alive_for_ever)

    def _emit(self, key: bytes, peer: _Peer, kind: bytes, session: bytes, payload: bytes = b"") -> None:
        if peer.endpoint is not None:
            peer.traffic += SIZES[kind] + len(payload)
            self._send_datagram(kind + self._own.raw + key + session + payload, peer.endpoint)

    def _later(
        self, key: bytes, peer: _Peer, name: str, seconds: float, action: Callable[[bytes, _Peer], None]
    ) -> None:
        """Plan the timer *name* of a peer; planned anew it replaces the old one."""
        generation = self._random.getrandbits(62)
        peer.generations[name] = generation

        def due() -> None:
            if self._peers.get(key) is peer and peer.generations.get(name) == generation:
                del peer.generations[name]
                action(key, peer)

        self._clock.call_in(seconds, due)
