"""Allowances of CPU time: whoever takes more has to rest, and nothing is lost meanwhile but time."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final, Generic, TypeVar

T = TypeVar("T")

REMEMBERED: Final = 10_000
"""Allowances that are kept beside each other; those that are full again are the same as new ones."""


class Pace:
    """An allowance that fills up with time.

    Args:
        share: Of one core, for long.
        burst: Seconds of CPU at once.
        clock: Seconds, monotone.
        longest: Seconds of rest at most.
    """

    __slots__ = ("_at", "_burst", "_clock", "_left", "_lowest", "_share")

    def __init__(self, share: float, burst: float, clock: Callable[[], float], longest: float = inf) -> None:
        self._share, self._burst, self._clock = share, burst, clock
        self._left, self._at, self._lowest = burst, clock(), -longest * share

    def spend(self, seconds: float) -> float:
        """Takes so much of the allowance; returns the seconds to rest, 0 where it was enough."""
        if self._left < seconds:  # the clock is looked at only then
            self._fill()
        self._left = max(self._lowest, self._left - seconds)
        return -self._left / self._share if self._left < 0 else 0.0

    def rest(self) -> float:
        """Returns the seconds until the allowance is there again, 0 where it is."""
        self._fill()
        return -self._left / self._share if self._left < 0 else 0.0

    def give_back(self, seconds: float) -> None:
        """Undoes what was spent."""
        self._left = min(self._burst, self._left + seconds)

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._share)
        self._at = now


class Paces(Generic[T]):
    """An allowance for each of many.

    Args:
        share: Of one core, for long.
        burst: Seconds of CPU at once.
        clock: Seconds, monotone.
        longest: Seconds of rest at most.
        most: How many are remembered.
    """

    def __init__(
        self, share: float, burst: float, clock: Callable[[], float], longest: float = inf, most: int = REMEMBERED
    ) -> None:
        self._made = partial(Pace, share, burst, clock, longest)
        self._most = most
        self._paces: dict[T, Pace] = {}

    def __len__(self) -> int:
        return len(self._paces)

    def of(self, which: T) -> Pace:
        """Returns one's allowance; the one that was asked for least lately is forgotten, where there are too many."""
        pace = self._paces.pop(which, None)
        if pace is None:
            pace = self._made()
            if len(self._paces) >= self._most:
                del self._paces[next(iter(self._paces))]
        self._paces[which] = pace
        return pace
