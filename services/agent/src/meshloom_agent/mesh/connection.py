"""The connection to one other agent: offers and answers, the ICE session, the relay, and the endpoint that comes of it.

Both sides offer on their own; roles follow from the keys. An ICE session is replaced when the other side tells a new
session id; ours changes when we begin a new one. The relayed path is opened at the same time, and carries the packets
until a direct one is found and whenever that fails. Meanwhile the endpoint in use stays, so that a session of WireGuard
survives until a better path is found.
"""

from collections.abc import Callable

from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import AgentState, Candidate, IceAgent, Outgoing, Pair
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage
from meshloom.protocol.stun import Address
from meshloom_agent.mesh.candidates import remote_candidates
from meshloom_agent.mesh.endpoint import Endpoint, EndpointChoice
from meshloom_agent.mesh.introduction import Introduction, new_credentials
from meshloom_agent.mesh.mtu import PathProbe
from meshloom_agent.mesh.offers import OfferTimer
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.mesh.path import Health, PathChoice, ThroughTurn, Way
from meshloom_agent.mesh.relay import OwnRelays, RelayChoice, RelayUse
from meshloom_agent.mesh.search import LOST, NO_ADDRESS, NO_DIRECT_PATH, NOT_OFFERED, SWITCHED_OFF, Search, Try
from meshloom_agent.mesh.silence import Silence
from meshloom_agent.mesh.status import ConnectionState, PathStatus, connecting_status, direct_status

EARLY_CANDIDATES = 32
HEALTH = {AgentState.CONNECTED: Health.WORKS, AgentState.DISCONNECTED: Health.DOUBTFUL}


class PeerConnection:
    """One peer. After each call, look at its attributes and ``deadline()``, and drain ``signals`` and ``datagrams()``.

    Args:
        token: First bytes of our transactions with this peer.
        refuse: Says of a candidate's address that it must not be used (it is of the overlay, or ours).

    Attributes:
        where: Where WireGuard sends the peer's packets.
        session: Grows when the other side has forgotten WireGuard's session: ours must shake hands anew.
    """

    def __init__(
        self,
        own: PublicKey,
        other: PublicKey,
        *,
        token: bytes,
        entropy: Callable[[int], bytes],
        options: MeshOptions,
        refuse: Callable[[Address], bool],
        now: float,
    ) -> None:
        self.other = other
        self.controlling = own.text > other.text  # of the texts, as the protocol says
        self.where = EndpointChoice(self.controlling, options.learn_endpoint)
        self.session = 0
        self.token = token
        self._search = Search()
        self._entropy, self._options, self._refuse = entropy, options, refuse
        self._local: list[Candidate] = []
        self._credentials = new_credentials(entropy)
        self._introduction = Introduction(other, self._credentials, options)
        self._session_id = entropy(5)
        self._remote_session: bytes | None = None
        self._remote_ufrag = ""
        self._agent: IceAgent | None = None
        self._began = self._paced_until = now
        self._early: list[str] = []
        self._old_out: list[Outgoing] = []
        self._signal_ready, self._remote_ice = False, True
        self._relay = RelayChoice(self.controlling, options.relays)
        self._probe = PathProbe(options.mtu)
        self._path = PathChoice(options.patience)
        self._way, self._since = Way.NONE, now
        self._silence = Silence(options.handshake_within)
        spread = 1 + entropy(1)[0] / 510
        self._offers = OfferTimer(options.first_wait, options.longest_wait, options.absent_wait, spread, now, now)

    # -- what happens ------------------------------------------------------------------------------------------

    @property
    def ufrag(self) -> str:
        """Ours, by which the other's requests find here."""
        return self._credentials.ufrag

    @property
    def signals(self) -> list[SignalMessage]:
        """What to send by signal now; clear it then."""
        return self._introduction.signals

    @property
    def goodbye(self) -> SignalMessage:
        """Returns what to say to the other when this agent ends."""
        return self._introduction.goodbye

    def is_with(self, ufrag: str) -> bool:
        """Tells whether the other's agent is the one with that ufrag, as far as it is known."""
        return self._remote_ufrag in ("", ufrag)

    @property
    def relay(self) -> RelayUse | None:
        """The relayed path that shall be open."""
        return self._relay.use

    @property
    def mtu(self) -> int | None:
        """Bytes of the largest packet that the direct path carries, where that is less than the interface's."""
        return self._probe.mtu

    @property
    def is_connected(self) -> bool:
        """Whether a path is in use."""
        return self._way is not Way.NONE

    @property
    def direct_address(self) -> Address | None:
        """Where the other is while the direct path is in use, and leads through no relay of ours."""
        pair = self._pair
        return pair.remote.address if pair is not None and pair.via is None else None

    @property
    def through(self) -> ThroughTurn | None:
        """The path in use where it leads through a relay of ours on a TURN server."""
        return ThroughTurn(pair.via.address, pair.remote.address) if (pair := self._pair) and pair.via else None

    def set_local(self, candidates: list[Candidate], listen_port: int, now: float, *, moved: bool) -> None:
        """Our candidates as they are now; *moved* where addresses of interfaces came or went."""
        self._local, self._introduction.listen_port = candidates, listen_port
        if self._agent is not None:
            self._agent.set_local(candidates, now)
            self._follow(now)
        if moved and self._remote_session is not None:
            self._path.forget_failures(now)
            self._restart(now, moved=True)
        elif self._way is Way.RELAYED and self._agent is None and listen_port:
            self._offers.again(now)  # with other candidates a direct path may be found
        else:
            self._tell_candidates()

    def set_relays(self, own: OwnRelays, now: float) -> None:
        """Our home relay is that one now, or there is none; the other is told of a new one."""
        is_news, self._introduction.home = own.home not in (None, self._relay.own.home), own.home
        self._relay.own = own
        self._choose_relay(now)
        if is_news and self._signal_ready and not self._offers.is_first:
            self._describe(SignalKind.OFFER)

    def relay_opened(self, now: float) -> None:
        """The relayed path reaches the other."""
        self._relay.reason = ""
        self._path.set_relay(True, now)
        self._take_path(now)

    def relay_lost(self, reason: str, now: float) -> None:
        """The relayed path does not reach the other, or no longer."""
        self._relay.reason = reason
        was_open = self._path.is_relay_open
        self._path.set_relay(False, now)
        self._take_path(now)
        if was_open and self._way is Way.NONE:
            self._offers.begin(now)

    def signal_ready(self, ready: bool, now: float, *, is_called: bool = False) -> None:
        """Signal is (not) there; when it comes, an offer goes out if there is no direct path, unless an answer will."""
        self._signal_ready = ready
        if ready and self._way is not Way.DIRECT:
            self._offers.begin(now)
            if is_called:
                self._plan_offer(now)
            self.handle_timer(now)

    def receive_signal(self, message: SignalMessage, now: float) -> None:
        """A message of the other agent."""
        match message.kind:
            case SignalKind.OFFER:
                self._receive_relay(message, now)
                self._receive_credentials(message, now)
                self._describe(SignalKind.ANSWER)
                self._tell_candidates()
            case SignalKind.ANSWER:
                self._receive_relay(message, now)
                self._receive_credentials(message, now)
                self._tell_candidates()
            case SignalKind.CANDIDATE if self._agent is not None:
                self._add_candidate(message.candidate, now)
            case SignalKind.CANDIDATE if len(self._early) < EARLY_CANDIDATES:
                self._early.append(message.candidate)
            case _:
                return
        self._follow(now)

    def receive_datagram(self, data: bytes, source: Address, now: float, via: Address | None = None) -> None:
        """A STUN message for this connection, *via* a relayed candidate of ours."""
        if self._agent is not None:
            self._agent.receive(data, source, now, via)
            self._follow(now)

    def handshake(self, latest: float | None, now: float) -> None:
        """When WireGuard last shook hands; a path over which it does not is given up."""
        if not self._silence.is_dead(latest, self._since, now):
            return
        if self._way is Way.DIRECT:
            self._restart(now)
        elif self._way is Way.RELAYED:
            self._choose_relay(now, anew=True)

    def handle_timer(self, now: float) -> None:
        """Repeat offers, move the ICE session on, return to a proven path, set the endpoint that was not learned."""
        if self._agent is not None:
            self._agent.handle_timer(now)
        self._path.handle_timer(now)
        self._probe.handle_timer(now)
        self._follow(now)
        self.where.handle_timer(self.target(), now)
        if self._offers.due is not None and now >= self._offers.due:
            self._offer(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        agent = self._agent.deadline() if self._agent else None
        times = [self._offers.due, self.where.due, self._path.deadline(), self._probe.deadline(), agent]
        return min((time for time in times if time is not None), default=None)

    def datagrams(self) -> list[Outgoing]:
        """What to send now."""
        out, self._old_out = self._old_out, []
        return out + self._agent.datagrams() if self._agent is not None else out

    def status(self, now: float) -> PathStatus:
        """For people."""
        relay = self._relay.url
        if self._way is Way.NONE:
            return connecting_status(self._since, self._search.told(now), relay, self._relay.problem, now)
        if self._way is Way.RELAYED:
            reason = self._search.told_relayed(now, Try(self._offers.due, self._signal_ready, self._is_checking))
            return PathStatus(ConnectionState.CONNECTED, self._since, reason, is_relayed=True, relay=relay)
        return direct_status(ConnectionState.CONNECTED, self._since, self._pair, relay)

    # -- offers ------------------------------------------------------------------------------------------------

    def _offer(self, now: float) -> None:
        if self._way is Way.DIRECT or (self._way is Way.RELAYED and not self._may_be_direct):
            self._offers.stop()
            return
        if self._signal_ready and (self._offers.is_first or not self._is_checking):
            self._describe(SignalKind.OFFER)
            self._introduction.repeat()
            self._tell_candidates()
        self._plan_offer(now)

    def _plan_offer(self, now: float) -> None:
        self._offers.plan(now, self._options.relayed_wait if self._way is Way.RELAYED else None)

    @property
    def _is_checking(self) -> bool:
        return self._agent is not None and self._agent.state is AgentState.CHECKING

    @property
    def _may_be_direct(self) -> bool:
        return self._remote_ice and not self._options.force_relay

    def _describe(self, kind: SignalKind) -> None:
        self._introduction.describe(kind, self._session_id)

    def _tell_candidates(self) -> None:
        """Only once the other has shown itself, else they would be lost on it."""
        if self._signal_ready:  # a relay of ours does the same as one of TURN's at less cost
            self._introduction.tell(self._local, relayed=self.relay is None)

    def _receive_credentials(self, message: SignalMessage, now: float) -> None:
        self._remote_ice, self._offers.heard = message.credentials is not None, now
        if message.credentials is None or self._options.force_relay:
            self._search.reason = NOT_OFFERED if message.credentials is None else SWITCHED_OFF
            if self._agent is not None:
                self._lose_session(now)
            return
        if self._agent is not None:
            if message.session_id in (None, self._remote_session):
                return
            if self._agent.remote == message.credentials and now - self._began < self._options.young:
                # Both began at about the same time. To begin once more would make the other do so, too, and so on.
                self._remote_session = message.session_id
                self._agent.other_began(now)
                self._introduction.repeat()  # its new session knows none of our candidates
                return
            self._lose_session(now)
            if message.kind is SignalKind.ANSWER:  # an offer is answered anyway
                self._describe(SignalKind.OFFER)
        if self._remote_ufrag not in ("", message.credentials.ufrag):
            self._other_began_anew(now)
        self._remote_session, self._remote_ufrag = message.session_id, message.credentials.ufrag
        if message.moved:
            self._path.forget_failures(now)
        self._begin(message.credentials, now)

    def _other_began_anew(self, now: float) -> None:
        """Its agent was started again: its WireGuard knows no session, and its relay has not been asked for us."""
        if self.controlling:
            # Ours must shake hands when there is a path, and does so only with a peer that is new to it.
            self.where.endpoint = None
            self.session += 1
        self._choose_relay(now, anew=True)

    def _begin(self, remote: Credentials, now: float) -> None:
        self._search.begin(now)
        self._began = now
        self._agent = IceAgent(
            controlling=self.controlling,
            local=self._credentials,
            token=self.token,
            tie_breaker=int.from_bytes(self._entropy(8)),
            entropy=self._entropy,
            now=now,
            paced_until=self._paced_until,
            timers=self._options.timers,
            direct=self.relay is not None or not self._options.turn_only,
        )
        self._agent.set_local(self._local, now)
        for line in self._early:
            self._add_candidate(line, now)
        self._early.clear()
        self._introduction.repeat()  # told after the answer: without a session of its own it would not take them
        self._agent.set_remote(remote, now)

    def _add_candidate(self, line: str, now: float) -> None:
        if self._agent is not None:
            for candidate in remote_candidates(line, self._refuse):
                self._agent.add_remote(candidate, now)

    def _restart(self, now: float, *, moved: bool = False) -> None:
        """A new session of ours; the endpoint in use stays until it has a better one."""
        self._lose_session(now)
        self._introduction.moved = moved
        self._offers.begin(now)
        self._introduction.repeat()
        self.handle_timer(now)

    def _lose_session(self, now: float) -> None:
        """End the ICE session, by no fault of its path."""
        if self._agent is not None:
            self._old_out += self._agent.datagrams()
            self._paced_until, self._agent = self._agent.paced_until, None
        self._session_id, self._remote_session, self._introduction.moved = self._entropy(5), None, False
        self._path.drop_direct(now)
        self._take_path(now)

    # -- the relay ---------------------------------------------------------------------------------------------

    def _receive_relay(self, message: SignalMessage, now: float) -> None:
        self._relay.other, self._relay.is_garbage = message.relay_address, message.relay_refused
        self._choose_relay(now)

    def _choose_relay(self, now: float, *, anew: bool = False) -> None:
        if self._relay.settle(anew=anew) and self._path.is_relay_open:
            self._path.set_relay(False, now)
            self._take_path(now)

    # -- the path ----------------------------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        """Do as the ICE session says."""
        agent = self._agent
        if agent is not None and agent.state is AgentState.FAILED:
            self._session_failed(agent, now)
        elif agent is not None:
            health = HEALTH.get(agent.state, Health.GONE) if agent.selected is not None else Health.GONE
            self._path.set_direct(health, now)
        self._take_path(now)
        self._probe.follow(self.direct_address, self._agent, now)
        if self._way is Way.DIRECT:
            self._search.found()
            self._offers.stop()

    def _session_failed(self, agent: IceAgent, now: float) -> None:
        had_path = agent.selected is not None
        self._path.set_direct(Health.GONE, now)
        self._lose_session(now)
        if had_path:
            self._search.reason = LOST
            self._offers.begin(now, lost=True)
            return
        self._search.reason = NO_DIRECT_PATH if agent.remote_candidates else NO_ADDRESS
        if self._offers.due is None:
            self._plan_offer(now)

    def _take_path(self, now: float) -> None:
        before, way = self._way, self._path.way
        if (way is Way.NONE) is not (self._way is Way.NONE):
            self._since = now
        self._way = way
        self.where.follow(self.target(), now, is_new=way is not before)

    def target(self) -> Endpoint | None:
        """Where the path in use leads, learned by WireGuard or not."""
        return Way.RELAYED if self._way is Way.RELAYED else self.through or self.direct_address

    @property
    def _pair(self) -> Pair | None:
        return self._agent.selected if self._agent is not None and self._way is Way.DIRECT else None
