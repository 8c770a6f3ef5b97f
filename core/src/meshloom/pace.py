"""Allowances of CPU time: whoever takes more has to rest, and nothing is lost meanwhile but time."""

from collections.abc import Callable
from math import inf


class Pace:
    """An allowance that fills up with time.

    Args:
        share: Of one core, for long.
        burst: Seconds of CPU at once.
        clock: Seconds, monotone.
        longest: Seconds of rest at most.

    Attributes:
        share: As it is now.
    """

    __slots__ = ("_at", "_burst", "_clock", "_left", "_longest", "share")

    def __init__(self, share: float, burst: float, clock: Callable[[], float], longest: float = inf) -> None:
        self.share, self._burst, self._clock, self._longest = share, burst, clock, longest
        self._left, self._at = burst, clock()

    def change_share(self, share: float) -> None:
        """Changes the share; a rest that was due takes as long as before."""
        self._fill()
        if self._left < 0:
            self._left *= share / self.share
        self.share = share

    def spend(self, seconds: float) -> float:
        """Takes so much of the allowance; returns the seconds to rest, 0 where it was enough."""
        if self._left < seconds:  # the clock is looked at only then
            self._fill()
        self._left = max(-self._longest * self.share, self._left - seconds)
        return -self._left / self.share if self._left < 0 else 0.0

    def rest(self) -> float:
        """Returns the seconds until the allowance is there again, 0 where it is."""
        self._fill()
        return -self._left / self.share if self._left < 0 else 0.0

    def give_back(self, seconds: float) -> None:
        """Undoes what was spent."""
        self._left = min(self._burst, self._left + seconds)

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self.share)
        self._at = now
