"""Which of the two paths to a peer carries its packets: the direct one where it works, else the relayed one.

Returning to a direct path that has failed lately waits until it has worked for a while, longer with every failure: a
path that comes and goes must not take the session with it.
"""

from collections import deque
from enum import Enum, auto

import attrs

from meshloom.protocol.stun import Address

REMEMBERED_FAILURES = 16


class Way(Enum):
    """How packets to a peer travel now."""

    NONE = auto()
    RELAYED = auto()
    DIRECT = auto()


@attrs.frozen
class ThroughTurn:
    """A way through a TURN server: our relayed address there, and where it sends to."""

    via: Address
    remote: Address


class Health(Enum):
    """What is known of the direct path: it works, has fallen silent for a moment, or there is none."""

    WORKS = auto()
    DOUBTFUL = auto()
    GONE = auto()


@attrs.frozen
class Patience:
    """How slowly a direct path that failed is trusted again; in seconds.

    Args:
        first: How long it must have worked after its first failure.
        longest: The same at the most; it doubles with every failure.
        memory: After so long a failure is forgotten.
    """

    first: float = 2.0
    longest: float = 120.0
    memory: float = 600.0


@attrs.define
class PathChoice:
    """One peer's. After each call look at ``way``, and wake it at ``deadline()``."""

    patience: Patience = attrs.field(factory=Patience)
    way: Way = Way.NONE
    _relay: bool = attrs.field(default=False, init=False)
    _direct: Health = attrs.field(default=Health.GONE, init=False)
    _works_since: float = attrs.field(default=0.0, init=False)
    _failures: deque[float] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED_FAILURES), init=False)

    def set_relay(self, is_open: bool, now: float) -> None:
        """The relayed path is there, or no longer."""
        self._relay = is_open
        self._choose(now)

    def set_direct(self, health: Health, now: float) -> None:
        """The direct path as it is now."""
        if health is Health.WORKS and self._direct is not Health.WORKS:
            self._works_since = now
        elif health is not Health.WORKS and self._direct is Health.WORKS:
            self._failures.append(now)
        self._direct = health
        self._choose(now)

    def drop_direct(self, now: float) -> None:
        """The direct path is given up by no fault of its own: a new one is looked for."""
        self._direct = Health.GONE
        self._choose(now)

    def forget_failures(self, now: float) -> None:
        """The network is another one: what failed in the old one says nothing."""
        self._failures.clear()
        self._choose(now)

    def handle_timer(self, now: float) -> None:
        """Return to a direct path that has proven itself."""
        self._choose(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        if self.way is Way.RELAYED and self._direct is Health.WORKS:
            return self._works_since + self._hold(self._works_since)
        return None

    @property
    def is_relay_open(self) -> bool:
        """Whether the relayed path is there, in use or not."""
        return self._relay

    def _choose(self, now: float) -> None:
        match self._direct:
            case Health.WORKS if not self._relay or self.way is Way.DIRECT:
                self.way = Way.DIRECT
            case Health.WORKS:
                proven = now >= self._works_since + self._hold(self._works_since)
                self.way = Way.DIRECT if proven else Way.RELAYED
            case Health.DOUBTFUL if self.way is Way.DIRECT and not self._relay:
                pass  # nothing better is there
            case _:
                self.way = Way.RELAYED if self._relay else Way.NONE

    def _hold(self, at: float) -> float:
        failures = sum(at - failed <= self.patience.memory for failed in self._failures)
        return min(self.patience.first * 2.0 ** (failures - 1), self.patience.longest) if failures else 0.0
