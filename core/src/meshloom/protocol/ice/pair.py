"""A pair of candidates and its checks (RFC 8445 sections 6.1.2, 7.2)."""

from enum import Enum, auto

import attrs

from meshloom.protocol.ice.candidate import Candidate, CandidateKind


class PairState(Enum):
    """How far the checks of a pair have come."""

    WAITING = auto()
    IN_PROGRESS = auto()
    SUCCEEDED = auto()
    FAILED = auto()


@attrs.define(eq=False)
class Pair:
    """What is known of reaching one remote candidate.

    Args:
        next_check: When to send the next check or its repetition; None for not at all.
        tries: Checks sent since the last success.
        triggered: Checks sent because the other side's came, since the last success.
        local: Which of our candidates its checks leave from; known after the first response.
        via: Our relayed candidate that it goes through; None for the port itself.
        nominated: The controlling side has chosen it.
        round_trip: Of the last check that was answered at once, in seconds; 0 if unknown.
    """

    remote: Candidate
    next_check: float | None
    state: PairState = PairState.WAITING
    tries: int = 0
    triggered: int = 0
    local: Candidate | None = None
    via: Candidate | None = None
    nominated: bool = False
    nominate: bool = False
    round_trip: float = 0.0
    checks: dict[bytes, tuple[float, int]] = attrs.field(factory=dict)

    @property
    def is_relayed(self) -> bool:
        """Whether it goes through a relay of either side."""
        return self.via is not None or self.remote.kind is CandidateKind.RELAY

    @property
    def promise(self) -> int:
        """Higher is better: by what is known before it is tried; what goes through a relay of ours comes last."""
        return min(self.remote.priority, self.via.priority) if self.via is not None else self.remote.priority

    def rank(self, controlling: bool) -> tuple[int, int]:
        """Higher is better: the pair's priority (RFC 8445 section 6.1.2.3); then the shorter round trip."""
        mine = self.local.priority if self.local else 0
        theirs = self.remote.priority
        great, less = max(mine, theirs), min(mine, theirs)
        first = mine if controlling else theirs
        return (less << 32) + 2 * great + (first > (theirs if controlling else mine)), -int(self.round_trip * 1e6)
