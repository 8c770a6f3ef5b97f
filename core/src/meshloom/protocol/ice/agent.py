"""One ICE session with one other agent, sans-IO (RFC 8445).

After every call: send ``datagrams()``, look at ``state`` and ``selected``, and wake it at ``deadline()``. A restart is
a new agent. Requests are answered from the first moment on, also before the other's credentials are known.
"""

from collections.abc import Callable
from enum import Enum, auto

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol import stun
from meshloom.protocol.ice.candidate import Candidate, CandidateKind, priority
from meshloom.protocol.ice.pair import Pair, PairState
from meshloom.protocol.signal import Credentials
from meshloom.protocol.stun import Address, Attribute, Kind

TOKEN = 4
MAX_REMOTE_CANDIDATES = 64
ROLE_CONFLICT = 487


class AgentState(Enum):
    """Where a session stands."""

    CHECKING = auto()
    CONNECTED = auto()
    DISCONNECTED = auto()
    FAILED = auto()


@attrs.frozen
class Timers:
    """Durations in seconds.

    Args:
        pace: Between two checks of one session (Ta, RFC 8445 section 14.2).
        repetition: Until a check is first repeated; doubled each time up to ``longest_repetition``.
        tries: Checks without an answer after which a pair has failed.
        patience: How long a working pair waits to be chosen while a better one may still work.
        keepalive: Between two checks of the chosen pair.
        disconnected: Without a sign of life until the path counts as interrupted.
        failed: Thereafter until it counts as lost; and, before any pair works, for all checks together.
    """

    pace: float = 0.02
    repetition: float = 0.1
    longest_repetition: float = 1.6
    tries: int = 7
    patience: float = 0.06
    keepalive: float = 4.0
    disconnected: float = 6.0
    failed: float = 6.0


class IceAgent:
    """Finds a pair of candidates over which both sides reach each other, and watches it.

    Args:
        controlling: Whether we choose the pair.
        local: Our credentials, as signalled.
        token: First 4 bytes of our transactions, by which responses find here.
        tie_breaker: 64 random bits (section 16.1).
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
        timers: Timers | None = None,
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
        self._pairs: dict[Address, Pair] = {}
        self._out: list[tuple[bytes, Address]] = []
        self._started: float | None = None
        self._first_valid: float | None = None
        self._next_slot = now
        self._alive_at = now

    # -- what is told to it ------------------------------------------------------------------------------------

    def set_local(self, candidates: list[Candidate]) -> None:
        """Our candidates as they are now; only used to tell which one a check left from."""
        self._local_candidates = {candidate.address: candidate for candidate in candidates}

    def set_remote(self, credentials: Credentials, now: float) -> None:
        """The other's credentials; checks begin."""
        self.remote = credentials
        self._remote_password = credentials.pwd.encode()
        self._started = now
        for pair in self._pairs.values():
            pair.next_check = now
        self.handle_timer(now)

    def add_remote(self, candidate: Candidate, now: float) -> None:
        """A candidate of the other's; those beyond the bound, and known ones, are ignored."""
        known = self._pairs.get(candidate.address)
        if known is not None:
            if known.remote.kind is CandidateKind.PEER_REFLEXIVE:
                known.remote = candidate
            return
        if len(self._pairs) < MAX_REMOTE_CANDIDATES:
            self._pairs[candidate.address] = Pair(candidate, now)
            self.handle_timer(now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """A STUN message for this session; what is not authentic is ignored."""
        try:
            message = stun.parse(data)
        except ProtocolError:
            return
        if message.kind == Kind.REQUEST:
            self._receive_request(message, source, now)
        elif message.kind in (Kind.SUCCESS, Kind.ERROR):
            self._receive_response(message, source, now)

    # -- time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do; None when the session has failed."""
        if self.state is AgentState.FAILED or self._started is None:
            return None
        due = [pair.next_check for pair in self._pairs.values() if pair.next_check is not None]
        times = [max(min(due), self._next_slot)] if due else []
        if self.state is AgentState.CHECKING:
            times.append(self._started + self.timers.disconnected + self.timers.failed)
            chosen = any(pair.nominate or pair.nominated for pair in self._pairs.values())
            if self._first_valid is not None and self.controlling and not chosen:
                times.append(self._first_valid + self.timers.patience)
        else:
            silence = self.timers.disconnected + (self.timers.failed if self.state is AgentState.DISCONNECTED else 0)
            times.append(self._alive_at + silence)
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Send checks that are due, choose a pair, notice silence."""
        if self._started is None or self.state is AgentState.FAILED:
            return
        self._choose(now)
        if now >= self._next_slot:
            self._check(now)
        self._watch(now)

    def datagrams(self) -> list[tuple[bytes, Address]]:
        """What to send now, to whom."""
        out, self._out = self._out, []
        return out

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
        due = [pair for pair in self._pairs.values() if pair.next_check is not None and pair.next_check <= now]
        if not due:
            return
        pair = max(due, key=lambda each: (each.nominate, each is self.selected, -each.tries, each.remote.priority))
        if pair is not self.selected and pair.tries >= self.timers.tries:
            pair.state, pair.next_check = PairState.FAILED, None
            pair.checks.clear()
        else:
            self._send_check(pair, now)
        self._next_slot = now + self.timers.pace

    def _send_check(self, pair: Pair, now: float) -> None:
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
        self._out.append(
            (stun.encode(Kind.REQUEST, transaction, attributes, self._remote_password), pair.remote.address)
        )
        while len(pair.checks) >= 8:
            del pair.checks[next(iter(pair.checks))]
        pair.checks[transaction] = now
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        wait = min(self.timers.repetition * 2**pair.tries, self.timers.longest_repetition)
        pair.next_check = now + wait
        pair.tries += 1

    def _trigger(self, pair: Pair, now: float) -> None:
        """A triggered check: the other side can reach us, so try now (section 7.3.1.4)."""
        if pair.state is PairState.SUCCEEDED:
            return
        if pair.state is PairState.FAILED or pair.tries > 1:
            pair.tries = 0
        pair.next_check = now

    def _receive_request(self, request: stun.Message, source: Address, now: float) -> None:
        ufrag = request.username.partition(b":")[0]
        if ufrag != self.local.ufrag.encode() or not request.is_authentic(self._password):
            return
        if self._is_conflict(request):
            reason = stun.error_value(ROLE_CONFLICT, "Role Conflict")
            self._respond(Kind.ERROR, request, (Attribute.ERROR_CODE, reason), source)
            return
        mapped = stun.pack_address(source, request.transaction)
        self._respond(Kind.SUCCESS, request, (Attribute.XOR_MAPPED_ADDRESS, mapped), source)
        pair = self._pairs.get(source)
        if pair is None:
            if len(self._pairs) >= MAX_REMOTE_CANDIDATES:
                return
            rank = request.number(Attribute.PRIORITY) or 1
            pair = Pair(Candidate(CandidateKind.PEER_REFLEXIVE, source, min(rank, 0xFFFFFFFF), "prflx"), None)
            self._pairs[source] = pair
        if pair is self.selected:
            self._alive(now)
        if Attribute.USE_CANDIDATE in request.attributes and not self.controlling:
            pair.nominated = True
        self._trigger(pair, now)
        self._choose(now)
        self.handle_timer(now)

    def _respond(self, kind: Kind, request: stun.Message, value: tuple[Attribute, bytes], source: Address) -> None:
        self._out.append((stun.encode(kind, request.transaction, [value], self._password), source))

    def _is_conflict(self, request: stun.Message) -> bool:
        """Section 7.3.1.1: True where the other has to yield; we yield ourselves where we have to."""
        theirs = request.number(Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED)
        if theirs is None:
            return False
        if (self._tie_breaker >= theirs) is self.controlling:
            return True
        self.controlling = not self.controlling
        return False

    def _receive_response(self, response: stun.Message, source: Address, now: float) -> None:
        pair = self._pairs.get(source)
        if pair is None or response.transaction not in pair.checks or not response.is_authentic(self._remote_password):
            return
        sent = pair.checks.pop(response.transaction)
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
        pair.local = self._local_candidates.get(mapped, prflx)
        pair.round_trip = now - sent
        pair.state, pair.tries, pair.next_check = PairState.SUCCEEDED, 0, None
        if pair.nominate and self.controlling:
            pair.nominate, pair.nominated = False, True
        if self._first_valid is None:
            self._first_valid = now
        self._choose(now)
        if pair is self.selected:
            self._alive(now)
        self.handle_timer(now)

    # -- the chosen pair ---------------------------------------------------------------------------------------

    def _choose(self, now: float) -> None:
        """Nominate as the controlling side, and take the best nominated pair that works."""
        working = [pair for pair in self._pairs.values() if pair.state is PairState.SUCCEEDED]
        if not working:
            return
        if self.controlling:
            best = max(working, key=lambda pair: pair.rank(self.controlling))
            if not best.nominated and not best.nominate and self._may_nominate(best, now):
                best.nominate, best.next_check = True, now
                self._next_slot = min(self._next_slot, now)
        nominated = [pair for pair in working if pair.nominated]
        if not nominated:
            return
        best = max(nominated, key=lambda pair: pair.rank(self.controlling))
        if best is not self.selected:
            self.selected = best
            best.next_check = now + self.timers.keepalive
            self._alive(now)
            for pair in self._pairs.values():
                if pair is not best and pair.state is not PairState.SUCCEEDED and not self._is_better(pair):
                    pair.next_check = None

    def _may_nominate(self, best: Pair, now: float) -> bool:
        if self.selected is not None:
            return best.rank(self.controlling) > self.selected.rank(self.controlling)
        if best.remote.kind is CandidateKind.HOST or self._first_valid is None:
            return True
        hopeful = any(pair.next_check is not None and self._is_hopeful(pair, best) for pair in self._pairs.values())
        return not hopeful or now >= self._first_valid + self.timers.patience

    def _is_hopeful(self, pair: Pair, best: Pair) -> bool:
        return pair.state is not PairState.FAILED and pair.remote.priority > best.remote.priority

    def _is_better(self, pair: Pair) -> bool:
        return self.selected is not None and pair.remote.priority > self.selected.remote.priority

    def _alive(self, now: float) -> None:
        self._alive_at = now
        self.state = AgentState.CONNECTED
        if self.selected is not None and self.selected.next_check is None:
            self.selected.next_check = now + self.timers.keepalive

    def _watch(self, now: float) -> None:
        if self.state is AgentState.CHECKING:
            over = now >= (self._started or 0.0) + self.timers.disconnected + self.timers.failed
            if over or self._all_failed():
                self.state = AgentState.FAILED
        elif now >= self._alive_at + self.timers.disconnected + self.timers.failed:
            self.state = AgentState.FAILED
        elif now >= self._alive_at + self.timers.disconnected:
            self.state = AgentState.DISCONNECTED

    def _all_failed(self) -> bool:
        return bool(self._pairs) and all(pair.state is PairState.FAILED for pair in self._pairs.values())
