"""When offers are repeated: soon at first, then ever later; each connection a little out of step with the others."""

import attrs


@attrs.define
class OfferTimer:
    """One connection's.

    Args:
        first: Seconds from an offer to its repetition.
        longest: Seconds between two offers at the most, before they are spread.
        spread: This connection's own factor, from 1 to 1.5.
    """

    first: float
    longest: float
    spread: float
    due: float | None = None
    _count: int = attrs.field(default=0, init=False)

    @property
    def is_first(self) -> bool:
        """Whether none was sent since it was last begun."""
        return self._count == 0

    def begin(self, now: float) -> None:
        """Offer at once, and then again and again."""
        self._count, self.due = 0, now

    def plan(self, now: float, longest: float | None = None) -> None:
        """The next one, after a wait that doubles."""
        wait = min(self.first * 2.0 ** min(self._count, 32), self.longest if longest is None else longest)
        self._count += 1
        self.due = now + wait * self.spread

    def stop(self) -> None:
        """No more offers."""
        self.due = None
