"""One ICE session with one other agent, sans-IO (RFC 8445).

After every call: send ``datagrams()``, look at ``state`` and ``selected``, and wake it at ``deadline()``. A restart is
a new agent. Requests are answered from the first moment on, also before the other's credentials are known.
"""

from collections.abc import Callable
from enum import Enum, auto

from meshloom.errors import ProtocolError
from meshloom.protocol import stun
from meshloom.protocol.ice.candidate import Candidate, CandidateKind, priority
from meshloom.protocol.ice.checklist import Checklist
from meshloom.protocol.ice.pair import Pair, PairState
from meshloom.protocol.ice.timers import Timers
from meshloom.protocol.signal import Credentials
from meshloom.protocol.stun import Address, Attribute, Kind

TOKEN = 4
MAX_TRIGGERED = 4
ROLE_CONFLICT = 487
USUALLY_ANSWERED = 1.25
"""Round trips in which a check is answered, unless it was lost."""

Outgoing = tuple[bytes, Address, Address | None]
"""A datagram, where to, and the address of the relayed candidate of ours that it is to leave from; None for none."""


class AgentState(Enum):
    """Where a session stands."""

    CHECKING = auto()
    CONNECTED = auto()
    DISCONNECTED = auto()
    FAILED = auto()


class IceAgent:
    """Finds a pair of candidates over which both sides reach each other, and watches it.

    Args:
        controlling: Whether we choose the pair.
        local: Our credentials, as signalled.
        token: First 4 bytes of our transactions, by which responses find here.
        tie_breaker: 64 random bits (section 16.1).
        paced_until: When the session before this one might have sent its next check: a new one is no way to send more.
        direct: Whether the port itself is a way, besides our relayed candidates.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        local: Credentials,
        token: bytes,
        tie_breaker: int,
        entropy: Callable[[int], bytes],
        now: float,
        paced_until: float = 0.0,
        timers: Timers | None = None,
        direct: bool = True,
    ) -> None:
        self.controlling = controlling
        self.local = local
        self.remote: Credentials | None = None
        self.state = AgentState.CHECKING
        self.selected: Pair | None = None
        self.timers = timers or Timers()
        self._token, self._entropy = token, entropy
        self._tie_breaker = tie_breaker
        self._password = local.pwd.encode()
        self._remote_password = b""
        self._local_candidates: dict[Address, Candidate] = {}
        self._pairs = Checklist(direct=direct)
        self._out: list[Outgoing] = []
        self._started: float | None = None
        self._first_valid: float | None = None
        self.paced_until = max(now, paced_until)
        self._alive_at = now
        self._is_sure = True
        self.probed: list[int] = []
        """Sizes of probes that were answered; to be cleared by whoever reads it."""

    # -- what is told to it ------------------------------------------------------------------------------------

    def set_local(self, candidates: list[Candidate], now: float) -> None:
        """Our candidates as they are now: they tell which one a check left from; relayed ones are other ways out."""
        self._local_candidates = {candidate.address: candidate for candidate in candidates}
        gone = self._pairs.set_ways(
            {each.address: each for each in candidates if each.kind is CandidateKind.RELAY}, now
        )
        if self.selected in gone:
            self.state = AgentState.FAILED
        self.handle_timer(now)

    def set_remote(self, credentials: Credentials, now: float) -> None:
        """The other's credentials; checks begin."""
        self.remote = credentials
        self._remote_password = credentials.pwd.encode()
        self._started = now
        for pair in self._pairs:
            pair.next_check = now
        self.handle_timer(now)

    def other_began(self, now: float) -> None:
        """The other agent is a new one with the same credentials: does it answer, and does it know our choice?"""
        if self.selected is not None:
            self._is_sure, self.selected.next_check = False, now
        self.handle_timer(now)

    def add_remote(self, candidate: Candidate, now: float) -> None:
        """A candidate of the other's; those beyond the bound, and known ones, are ignored."""
        self._pairs.add(candidate, now)
        self.handle_timer(now)

    def receive(self, data: bytes, source: Address, now: float, via: Address | None = None) -> None:
        """A STUN message for this session, *via* a relayed candidate of ours; what is not authentic is ignored."""
        try:
            message = stun.parse(data)
        except ProtocolError:
            return
        if message.kind == Kind.REQUEST:
            self._receive_request(message, source, via, now)
        elif message.kind in (Kind.SUCCESS, Kind.ERROR):
            self._receive_response(message, source, via, now)

    # -- time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do; None when the session has failed."""
        if self.state is AgentState.FAILED or self._started is None:
            return None
        due = [pair.next_check for pair in self._pairs if pair.next_check is not None]
        times = [max(min(due), self.paced_until)] if due else []
        times.append(self._patience_ends)
        if self.state is AgentState.CHECKING:
            chosen = any(pair.nominate or pair.nominated for pair in self._pairs)
            if self.controlling and not chosen and (best := self._best()) is not None:
                times.append(self._patient_until(best))
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Send checks that are due, choose a pair, notice silence."""
        if self._started is None or self.state is AgentState.FAILED:
            return
        self._choose(now)
        if now >= self.paced_until:
            self._check(now)
        self._watch(now)

    def datagrams(self) -> list[Outgoing]:
        """What to send now."""
        out, self._out = self._out, []
        return out

    def probe(self, size: int, now: float) -> None:
        """Send a check of *size* bytes over the chosen pair; ``probed`` tells which were answered."""
        if self.selected is not None and self.remote is not None:
            self._send(self.selected, now, size)

    @property
    def latency(self) -> float:
        """Round trip over the chosen pair in seconds, 0 if unknown."""
        return self.selected.round_trip if self.selected else 0.0

    @property
    def remote_candidates(self) -> int:
        """How many candidates of the other's are known."""
        return len(self._pairs)

    # -- checks ------------------------------------------------------------------------------------------------

    def _check(self, now: float) -> None:
        due = [pair for pair in self._pairs if pair.next_check is not None and pair.next_check <= now]
        if not due:
            return
        pair = max(due, key=lambda each: (each.nominate, each is self.selected, -each.tries, each.promise))
        if pair is not self.selected and pair.tries >= self.timers.tries:
            pair.state, pair.next_check = PairState.FAILED, None
            pair.checks.clear()
        else:
            self._send_check(pair, now)
        self.paced_until = now + self.timers.pace

    def _send(self, pair: Pair, now: float, size: int = 0) -> None:
        """A request, filled up to *size* bytes."""
        if self.remote is None:
            return
        transaction = self._token + self._entropy(12 - TOKEN)
        role = Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED
        attributes = [
            (Attribute.USERNAME, f"{self.remote.ufrag}:{self.local.ufrag}".encode()),
            (role, self._tie_breaker.to_bytes(8)),
            (Attribute.PRIORITY, priority(CandidateKind.PEER_REFLEXIVE, 65535).to_bytes(4)),
        ]
        if self.controlling and (pair.nominate or pair is self.selected):
            attributes.append((Attribute.USE_CANDIDATE, b""))
        bare = stun.size_of(attributes, authentic=True)
        if size >= bare + 4:
            attributes.append((Attribute.FILLING, bytes((size - bare - 4) // 4 * 4)))
        request = stun.encode(Kind.REQUEST, transaction, attributes, self._remote_password)
        self._out.append((request, pair.remote.address, pair.via.address if pair.via is not None else None))
        while len(pair.checks) >= 8:
            del pair.checks[next(iter(pair.checks))]
        pair.checks[transaction] = now, size

    def _send_check(self, pair: Pair, now: float) -> None:
        if self.remote is None:
            return
        self._send(pair, now)
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        wait = min(self.timers.repetition * 2**pair.tries, self.timers.longest_repetition)
        if not pair.tries:
            wait = max(wait, USUALLY_ANSWERED * pair.round_trip)
        pair.next_check = now + wait
        pair.tries += 1
        if pair is self.selected and pair.tries == self.timers.doubt:
            self._try_others(now)

    def _try_others(self, now: float) -> None:
        """The chosen pair does not answer: what worked, or did not, has to show itself again."""
        for pair in self._pairs:
            if pair is not self.selected:
                pair.state, pair.nominated, pair.nominate = PairState.WAITING, False, False
                pair.tries, pair.triggered, pair.next_check = 0, 0, now

    def _trigger(self, pair: Pair, now: float) -> None:
        """A triggered check: the other side can reach us, so try now (section 7.3.1.4).

        Only so often: two sides that hear each other's checks, and never an answer, would trigger each other for ever.
        """
        if pair.state is PairState.SUCCEEDED or pair.triggered >= MAX_TRIGGERED:
            return
        pair.triggered += 1
        pair.tries = min(pair.tries, self.timers.tries - 2)
        pair.next_check = now

    def _receive_request(self, request: stun.Message, source: Address, via: Address | None, now: float) -> None:
        ufrag = request.username.partition(b":")[0]
        if ufrag != self.local.ufrag.encode() or not request.is_authentic(self._password):
            return
        if self._is_conflict(request):
            reason = stun.error_value(ROLE_CONFLICT, "Role Conflict")
            self._respond(Kind.ERROR, request, (Attribute.ERROR_CODE, reason), source, via)
            return
        rank = min(request.number(Attribute.PRIORITY) or 1, 0xFFFFFFFF)
        pair = self._pairs.shown(source, rank, via)
        if pair is None:
            return
        mapped = stun.pack_address(source, request.transaction)
        self._respond(Kind.SUCCESS, request, (Attribute.XOR_MAPPED_ADDRESS, mapped), source, via)
        nominates = Attribute.USE_CANDIDATE in request.attributes and not self.controlling
        if (nominates or self._is_wanted(pair)) and self._pairs.learn(pair, self.selected):
            pair.nominated |= nominates
            self._trigger(pair, now)
        self.handle_timer(now)

    def _is_wanted(self, pair: Pair) -> bool:
        """Whether to look into a pair by which the other side reaches us.

        Once there is a path, only better ones are: two hosts behind one router that gives each destination a port of
        its own see an address yet unknown with each check, and would check for ever.
        """
        return self.selected is None or not self._is_sure or self._is_doubtful or self._is_better(pair)

    def _respond(
        self, kind: Kind, request: stun.Message, value: tuple[Attribute, bytes], to: Address, via: Address | None
    ) -> None:
        self._out.append((stun.encode(kind, request.transaction, [value], self._password), to, via))

    def _is_conflict(self, request: stun.Message) -> bool:
        """Section 7.3.1.1: True where the other has to yield; we yield ourselves where we have to."""
        theirs = request.number(Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED)
        if theirs is None:
            return False
        if (self._tie_breaker >= theirs) is self.controlling:
            return True
        self.controlling = not self.controlling
        return False

    def _receive_response(self, response: stun.Message, source: Address, via: Address | None, now: float) -> None:
        pair = self._pairs.get(via, source)
        if pair is None or response.transaction not in pair.checks or not response.is_authentic(self._remote_password):
            return
        sent, size = pair.checks.pop(response.transaction)
        if size and response.kind == Kind.SUCCESS:
            self.probed.append(size)
            return
        if response.kind == Kind.ERROR:
            if response.error_code == ROLE_CONFLICT:
                self.controlling = not self.controlling
                pair.next_check = now
                self.handle_timer(now)
            return
        try:
            mapped = response.mapped_address
        except ProtocolError:
            return
        if mapped is None:
            return
        prflx = Candidate(CandidateKind.PEER_REFLEXIVE, mapped, priority(CandidateKind.PEER_REFLEXIVE, 0), "prflx")
        pair.local = pair.via or self._local_candidates.get(mapped, prflx)
        pair.round_trip = now - sent
        pair.state, pair.tries, pair.triggered, pair.next_check = PairState.SUCCEEDED, 0, 0, None
        if pair.nominate and self.controlling:
            pair.nominate, pair.nominated = False, True
        if self._first_valid is None:
            self._first_valid = now
        self._choose(now)
        if pair is self.selected:
            self._is_sure = True
            self._alive(now)
        self.handle_timer(now)

    # -- the chosen pair ---------------------------------------------------------------------------------------

    @property
    def _is_doubtful(self) -> bool:
        """Whether the chosen pair has not answered for a while."""
        return self.selected is not None and self.selected.tries >= self.timers.doubt

    def _choose(self, now: float) -> None:
        """Nominate as the controlling side, and take the best nominated pair that works."""
        best = self._best()
        if best is None:
            return
        if self.controlling and not best.nominated and not best.nominate and self._may_nominate(best, now):
            best.nominate, best.next_check = True, now
            self.paced_until = min(self.paced_until, now)
        best = self._best(nominated=True)
        if best is not None and self._is_preferred(best):
            self._select(best, now)

    def _best(self, *, nominated: bool = False) -> Pair | None:
        besides = self.selected if self._is_doubtful else None
        return self._pairs.best(controlling=self.controlling, besides=besides, nominated=nominated)

    def _select(self, best: Pair, now: float) -> None:
        if self.selected is not None:
            self.selected.nominated = False  # to return to it, it must be chosen anew
        self.selected = best
        best.next_check = now + self.timers.keepalive
        self._alive(now)
        for pair in self._pairs:
            if pair is not best and pair.state is not PairState.SUCCEEDED and not self._is_better(pair):
                pair.next_check = None

    def _is_preferred(self, pair: Pair) -> bool:
        """To the chosen one; of two that are as good the chosen one stays."""
        if self.selected is None or pair is self.selected:
            return self.selected is None
        return self._is_doubtful or pair.rank(self.controlling)[0] > self.selected.rank(self.controlling)[0]

    def _may_nominate(self, best: Pair, now: float) -> bool:
        if self.selected is not None:
            return self._is_preferred(best)
        if best.remote.kind is CandidateKind.HOST and best.via is None:
            return True
        hopeful = any(pair.next_check is not None and self._is_hopeful(pair, best) for pair in self._pairs)
        return not hopeful or now >= self._patient_until(best)

    def _patient_until(self, best: Pair) -> float:
        patience = self.timers.relayed_patience if best.is_relayed else self.timers.patience
        return (self._first_valid or 0.0) + patience

    def _is_hopeful(self, pair: Pair, best: Pair) -> bool:
        return pair.state is not PairState.FAILED and pair.promise > best.promise

    def _is_better(self, pair: Pair) -> bool:
        return self.selected is not None and pair.promise > self.selected.promise

    def _alive(self, now: float) -> None:
        self._alive_at = now
        self.state = AgentState.CONNECTED
        if self.selected is not None and self.selected.next_check is None:
            self.selected.next_check = now + self.timers.keepalive

    @property
    def _patience_ends(self) -> float:
        """When the state becomes a worse one, if nothing is heard until then."""
        match self.state:
            case AgentState.CHECKING:
                return (self._started or 0.0) + self.timers.disconnected + self.timers.failed
            case AgentState.CONNECTED:
                return self._alive_at + self.timers.disconnected + 2 * self.latency
            case _:
                return self._alive_at + self.timers.disconnected + 2 * self.latency + self.timers.failed

    def _watch(self, now: float) -> None:
        if self.state is AgentState.CONNECTED and now >= self._patience_ends:
            self.state = AgentState.DISCONNECTED
        if self.state is AgentState.CHECKING and self._all_failed():
            self.state = AgentState.FAILED
        if self.state in (AgentState.CHECKING, AgentState.DISCONNECTED) and now >= self._patience_ends:
            self.state = AgentState.FAILED

    def _all_failed(self) -> bool:
        return bool(self._pairs) and all(pair.state is PairState.FAILED for pair in self._pairs)
