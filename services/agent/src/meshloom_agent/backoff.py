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
    _mean: float = attrs.field(default=0.0, init=False)

    def next(self) -> float:
        """Seconds to wait now."""
        self._mean = min(self._mean * self.factor or self.first, self.longest)
        return self._mean * (0.5 + self.random())

    def reset(self) -> None:
        """It worked."""
        self._mean = 0.0
