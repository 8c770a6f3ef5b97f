"""The connection to one other agent: offers and answers, the ICE session, and the endpoint that comes of it.

Both sides offer on their own; roles follow from the keys. An ICE session is replaced when the other side tells a new
session id; ours changes when we begin a new one. Meanwhile the endpoint in use stays, so that a session of WireGuard
survives until a better path is found.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import AgentState, Candidate, CandidateKind, IceAgent, parse_candidate
from meshloom.protocol.ice.candidate import local_candidate
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage
from meshloom.protocol.stun import Address
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.mesh.status import PathStatus

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
EARLY_CANDIDATES = 32
NEEDS_RELAY = "no direct path: a relay is needed"


class ConnectionState(StrEnum):
    """As shown to people, in the words that they know."""

    CONNECTING = "Connecting"
    CONNECTED = "Connected"


class PeerConnection:
    """One peer. After each call, look at ``endpoint``, ``deadline()``, and drain ``signals`` and ``datagrams()``.

    Args:
        token: First bytes of our transactions with this peer.
        refuse: Says of a candidate's address that it must not be used (it is of the overlay).
    """

    def __init__(
        self,
        own: PublicKey,
        other: PublicKey,
        *,
        token: bytes,
        entropy: Callable[[int], bytes],
        options: MeshOptions,
        refuse: Callable[[str], bool],
        now: float,
    ) -> None:
        self.other = other
        self.controlling = own.text > other.text  # of the texts, as the protocol says
        self.endpoint: Address | None = None
        self.signals: list[SignalMessage] = []
        self.listen_port = 0
        self.reason = "waiting for its offer"
        self._token, self._entropy, self._options, self._refuse = token, entropy, options, refuse
        self._local: list[Candidate] = []
        self._credentials = Credentials(self._word(16), self._word(32))
        self._session = entropy(5)
        self._remote_session: bytes | None = None
        self._remote_ufrag = ""
        self._agent: IceAgent | None = None
        self._began = now
        self._early: list[str] = []
        self._old_out: list[tuple[bytes, Address]] = []
        self._signal_ready = False
        self._since = now
        self._state = ConnectionState.CONNECTING
        self._waits = 0
        self._spread = 1 + entropy(1)[0] / 510  # no two connections repeat in step
        self._next_offer: float | None = now
        self._learn_until: float | None = None
        self._told: set[Address] = set()

    # -- what happens ------------------------------------------------------------------------------------------

    @property
    def ufrag(self) -> str:
        """Ours, by which the other's requests find here."""
        return self._credentials.ufrag

    @property
    def is_connected(self) -> bool:
        """Whether a path is in use."""
        return self._state is ConnectionState.CONNECTED

    def set_local(self, candidates: list[Candidate], listen_port: int, now: float, *, moved: bool) -> None:
        """Our candidates as they are now; *moved* where addresses of interfaces came or went."""
        self._local, self.listen_port = candidates, listen_port
        if self._agent is not None:
            self._agent.set_local(candidates)
        if moved and self._remote_session is not None:
            self._restart(now)
        else:
            self._tell_candidates()

    def signal_ready(self, ready: bool, now: float) -> None:
        """Signal is (not) there; when it comes, an offer goes out if there is no connection."""
        self._signal_ready = ready
        if ready and not self.is_connected:
            self._waits, self._next_offer = 0, now
            self.handle_timer(now)

    def receive_signal(self, message: SignalMessage, now: float) -> None:
        """A message of the other agent."""
        match message.kind:
            case SignalKind.OFFER:
                self._receive_credentials(message, now)
                self._describe(SignalKind.ANSWER)
                self._tell_candidates()
            case SignalKind.ANSWER:
                self._receive_credentials(message, now)
            case SignalKind.CANDIDATE if self._agent is not None:
                self._add_candidate(message.candidate, now)
            case SignalKind.CANDIDATE if len(self._early) < EARLY_CANDIDATES:
                self._early.append(message.candidate)
            case _:
                return
        self._follow(now)

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """A STUN message for this connection."""
        if self._agent is not None:
            self._agent.receive(data, source, now)
            self._follow(now)

    def handshake(self, latest: float | None, now: float) -> None:
        """When WireGuard last shook hands; a path over which it no longer does is given up."""
        dead = latest is None or now - latest > self._options.handshake_within
        if self.is_connected and dead and now - self._since > self._options.handshake_within:
            self._restart(now)

    def handle_timer(self, now: float) -> None:
        """Repeat offers, move the ICE session on, set the endpoint that was not learned."""
        if self._agent is not None:
            self._agent.handle_timer(now)
        self._follow(now)
        if self._learn_until is not None and now >= self._learn_until:
            self._learn_until = None
            self._set_endpoint()
        if self._next_offer is not None and now >= self._next_offer:
            self._offer(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        times = [self._next_offer, self._learn_until, self._agent.deadline() if self._agent else None]
        return min((time for time in times if time is not None), default=None)

    def datagrams(self) -> list[tuple[bytes, Address]]:
        """What to send now, to whom."""
        out, self._old_out = self._old_out, []
        return out + self._agent.datagrams() if self._agent is not None else out

    def status(self) -> PathStatus:
        """For people."""
        pair = self._agent.selected if self._agent is not None and self.is_connected else None
        if pair is None or pair.local is None:
            return PathStatus(self._state, self._since, "" if self.is_connected else self.reason)
        return PathStatus(
            self._state,
            self._since,
            "",
            pair.local.kind,
            pair.local.address,
            pair.remote.kind,
            pair.remote.address,
            self._agent.latency if self._agent else 0.0,
        )

    # -- offers ------------------------------------------------------------------------------------------------

    def _offer(self, now: float) -> None:
        if self.is_connected or (self._agent is not None and self._agent.state is AgentState.CHECKING and self._waits):
            self._next_offer = None if self.is_connected else self._later(now)
            return
        if self._signal_ready:
            self._describe(SignalKind.OFFER)
            self._told.clear()
            self._tell_candidates()
        self._next_offer = self._later(now)

    def _later(self, now: float) -> float:
        wait = min(self._options.first_wait * 2.0**self._waits, self._options.longest_wait)
        self._waits += 1
        return now + wait * self._spread

    def _describe(self, kind: SignalKind) -> None:
        self.signals.append(
            SignalMessage(
                kind,
                self.other,
                credentials=self._credentials,
                session_id=self._session,
                wg_listen_port=self.listen_port,
                version=self._options.version,
            )
        )

    def _tell_candidates(self) -> None:
        """Those that the other was not told of yet; only once it has shown itself, else they would be lost on it."""
        if not self._signal_ready:
            return
        for candidate in self._local:
            if candidate.address not in self._told:
                self._told.add(candidate.address)
                self.signals.append(SignalMessage(SignalKind.CANDIDATE, self.other, candidate=candidate.line()))

    def _receive_credentials(self, message: SignalMessage, now: float) -> None:
        if message.credentials is None:
            self.reason = "it offers no direct path: a relay is needed"
            return
        if self._agent is not None:
            if message.session_id in (None, self._remote_session):
                return
            if self._agent.remote == message.credentials and now - self._began < self._options.young:
                # Both began at about the same time. To begin once more would make the other do so, too, and so on.
                self._remote_session = message.session_id
                self._agent.other_began(now)
                return
            self._session = self._entropy(5)
            self._drop_agent()
            if message.kind is SignalKind.ANSWER:  # an offer is answered anyway
                self._describe(SignalKind.OFFER)
        if self.controlling and self._remote_ufrag not in ("", message.credentials.ufrag):
            # Its agent was started anew and its WireGuard knows no session: ours must shake hands when there is a path,
            # and does so only with a peer that is new to it.
            self.endpoint = None
        self._remote_session, self._remote_ufrag = message.session_id, message.credentials.ufrag
        self._begin(message.credentials, now)

    def _begin(self, remote: Credentials, now: float) -> None:
        if self.reason != NEEDS_RELAY:
            self.reason = "looking for a direct path"
        self._began = now
        self._agent = IceAgent(
            controlling=self.controlling,
            local=self._credentials,
            token=self._token,
            tie_breaker=int.from_bytes(self._entropy(8)),
            entropy=self._entropy,
            now=now,
            timers=self._options.timers,
        )
        self._agent.set_local(self._local)
        for line in self._early:
            self._add_candidate(line, now)
        self._early.clear()
        self._told.clear()
        self._tell_candidates()
        self._agent.set_remote(remote, now)

    def _add_candidate(self, line: str, now: float) -> None:
        try:
            candidate = parse_candidate(line)
        except ProtocolError:
            return
        if self._agent is None or self._refuse(candidate.address[0]):
            return
        self._agent.add_remote(candidate, now)
        self._add_static_forward(candidate, now)

    def _add_static_forward(self, candidate: Candidate, now: float) -> None:
        """A router may forward the other's own port as it is, whatever it maps outgoing packets to."""
        related = candidate.related
        if self._agent is None or candidate.kind is not CandidateKind.SERVER_REFLEXIVE or candidate.id is None:
            return
        if related is not None and related[1] not in (0, candidate.address[1]):
            extra = Candidate(candidate.kind, (candidate.address[0], related[1]), candidate.priority - 1, "static")
            self._agent.add_remote(extra, now)

    def _restart(self, now: float) -> None:
        """A new session of ours; the endpoint in use stays until it has a better one."""
        self._session = self._entropy(5)
        self._drop_agent()
        self._remote_session = None
        self._become(ConnectionState.CONNECTING, now)
        self._waits, self._next_offer = 0, now
        self._told.clear()
        self.handle_timer(now)

    def _drop_agent(self) -> None:
        if self._agent is not None:
            self._old_out += self._agent.datagrams()
            self._agent = None

    # -- the path ----------------------------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        """Do as the ICE session says."""
        agent = self._agent
        if agent is None:
            return
        if agent.state is AgentState.FAILED:
            was_connected = self.is_connected
            self.reason = NEEDS_RELAY if agent.remote_candidates else "it told no address"
            self._drop_agent()
            self._session, self._remote_session = self._entropy(5), None
            self._become(ConnectionState.CONNECTING, now)
            if was_connected:
                self.reason = "the path was lost"
                self._waits, self._next_offer = 0, now
            elif self._next_offer is None:
                self._next_offer = self._later(now)
        elif agent.selected is not None and agent.state is AgentState.CONNECTED:
            self._become(ConnectionState.CONNECTED, now)
            self._next_offer = None
            if agent.selected.remote.address != self.endpoint and self._learn_until is None:
                if self.controlling or self.endpoint is not None:
                    self._set_endpoint()
                else:
                    self._learn_until = now + self._options.learn_endpoint

    def _set_endpoint(self) -> None:
        if self._agent is not None and self._agent.selected is not None:
            self.endpoint = self._agent.selected.remote.address

    def _become(self, state: ConnectionState, now: float) -> None:
        if state is not self._state:
            self._state, self._since = state, now

    def _word(self, length: int) -> str:
        return "".join(chr(LETTERS[byte % len(LETTERS)]) for byte in self._entropy(length))


def host_candidates(addresses: Iterable[str], port: int) -> list[Candidate]:
    """Candidates of the host's own addresses."""
    return [
        local_candidate(CandidateKind.HOST, (address, port), 65535 - number) for number, address in enumerate(addresses)
    ]
