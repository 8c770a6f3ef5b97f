"""How long to wait before the next try, so that a thousand agents do not come back at once."""

from collections.abc import Callable
from random import SystemRandom

import attrs


@attrs.define
class Backoff:
    """Grows with each try that fails, at random around its mean.

    Args:
        first: Mean of the first wait in seconds.
        longest: The longest mean.
    """

    first: float = 0.8
    longest: float = 10.0
    factor: float = 1.7
    random: Callable[[], float] = SystemRandom().random
    _tries: int = 0

    def next(self) -> float:
        """Seconds to wait now."""
        mean = min(self.first * self.factor**self._tries, self.longest)
        self._tries += 1
        return mean * (0.5 + self.random())

    def reset(self) -> None:
        """It worked."""
        self._tries = 0
