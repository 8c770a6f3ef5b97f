"""What to do when a server ends a stream that worked: another machine may have this one's key, as after cloning a disk.

Both machines would take each other's place for ever, each believing after every success that all is well. A connection
that is lost, however often, says nothing of that.
"""

from collections.abc import Callable
from enum import Enum, auto
from random import SystemRandom

import attrs

SHORT = 30.0
"""Seconds for which a stream must have stood for its end to be like any other."""
PEACE = 600.0
"""Seconds without an end that counts, after which those before are forgotten."""
FIRST, FACTOR, LONGEST = 0.8, 1.7, 300.0
LONGEST_LOST = 5.0
"""The longest mean wait after connections that were lost: each of them had worked."""
MOST_COUNTED = 20
"""Ends by which a wait grows: far beyond the longest one, and no number is too large for that."""
TOLD_AFTER, TOLD_AFTER_ENDS = 2, 5
"""Ends after which it is said: of those that the server explains, and of all that count."""
RIVAL = "another machine seems to use this machine's key"
"""Begins what is told."""
WORDS = (
    f"{RIVAL}, as after cloning a disk: each takes the other's place at"
    " management; on the copy, delete private.key in the daemon's folder and run meshloom logout --local, then meshloom"
    " up --setup-key KEY"
)


class End(Enum):
    """How a stream that worked came to its end."""

    LOST = auto()
    """The connection was lost, or the server had a reason of its own."""
    CLEAN = auto()
    """A server that never says why ended it in good order, as NetBird's does with the older of two streams."""
    REPLACED = auto()
    """The server says that another connection of the same key has taken its place."""


@attrs.define
class Rivalry:
    """The ends of one kind of stream.

    Args:
        random: Returns a number from 0 to 1.
    """

    random: Callable[[], float] = SystemRandom().random
    _ends: int = attrs.field(default=0, init=False)
    _replaced: int = attrs.field(default=0, init=False)
    _lost: int = attrs.field(default=0, init=False)
    _last: float = attrs.field(default=float("-inf"), init=False)

    def ended(self, now: float, stood: float, end: End) -> float:
        """Notes the end of a stream that had worked; returns how many seconds to wait until the next one.

        Args:
            now: The present.
            stood: Seconds for which it had worked.
            end: How it came to its end.
        """
        if now - self._last > PEACE:
            self._ends = self._replaced = 0
        if stood >= SHORT:
            self._lost = 0
        if end is End.REPLACED or (end is End.CLEAN and stood < SHORT):
            self._ends, self._last = self._ends + 1, now
            self._replaced += end is End.REPLACED
            return self._wait(self._ends, LONGEST)
        if stood >= SHORT:
            self._ends = max(0, self._ends - 1)
        self._lost += 1
        return self._wait(self._lost, LONGEST_LOST)

    def _wait(self, ends: int, longest: float) -> float:
        mean: float = min(FIRST * FACTOR ** min(ends - 1, MOST_COUNTED), longest)
        return mean * (0.5 + self.random())

    @property
    def words(self) -> str:
        """What to tell people; empty where nothing speaks for another machine."""
        return WORDS if self._replaced >= TOLD_AFTER or self._ends >= TOLD_AFTER_ENDS else ""
