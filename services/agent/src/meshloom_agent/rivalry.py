"""What to do when a server ends a stream that worked: another machine may have this one's key, as after cloning a disk.

Both machines would take each other's place for ever, each believing after every success that all is well.
"""

from collections.abc import Callable
from random import SystemRandom

import attrs

SHORT = 30.0
"""Seconds for which a stream must have stood for its end to be like any other."""
PEACE = 600.0
"""Seconds without such an end after which those before are forgotten."""
FIRST, FACTOR, LONGEST = 0.8, 1.7, 300.0
TOLD_AFTER, TOLD_AFTER_ENDS = 2, 5
"""Ends after which it is said: of those that the server explains, and of others that came right after success."""
RIVAL = "another machine seems to use this machine's key"
"""Begins what is told."""
WORDS = (
    f"{RIVAL}, as after cloning a disk: each takes the other's place at"
    " management; on the copy, delete private.key in the daemon's folder and run meshloom logout --local, then meshloom"
    " up --setup-key KEY"
)


@attrs.define
class Rivalry:
    """The ends of one kind of stream.

    Args:
        random: Returns a number from 0 to 1.
    """

    random: Callable[[], float] = SystemRandom().random
    _ends: int = attrs.field(default=0, init=False)
    _replaced: int = attrs.field(default=0, init=False)
    _last: float = attrs.field(default=float("-inf"), init=False)

    def ended(self, now: float, stood: float, *, replaced: bool) -> float:
        """Notes an end of a stream that had worked; returns how many seconds to wait until the next one.

        Args:
            now: The present.
            stood: Seconds for which it had worked.
            replaced: Whether the server says that another connection of the same key has taken its place.
        """
        if now - self._last > PEACE:
            self._ends = self._replaced = 0
        if replaced or stood < SHORT:
            self._ends, self._last = self._ends + 1, now
            self._replaced += replaced
        else:
            self._ends = max(0, self._ends - 1)
        mean = min(FIRST * FACTOR ** max(0, self._ends - 1), LONGEST)
        return mean * (0.5 + self.random())

    @property
    def words(self) -> str:
        """What to tell people; empty where nothing speaks for another machine."""
        return WORDS if self._replaced >= TOLD_AFTER or self._ends >= TOLD_AFTER_ENDS else ""
