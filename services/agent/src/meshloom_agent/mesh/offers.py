"""When offers are repeated: soon at first, then ever later; each connection a little out of step with the others."""

import attrs

SILENT = 120.0
"""Seconds without a word after which a peer is taken for absent. It has been sent several offers by then, and one
that comes back offers by itself."""

APART = 10.0
"""Seconds between two offers for a reason that may come up time and again, at the least."""


EAGER_FOR, EAGER_EVERY = 30.0, 3.0
"""Seconds after a direct path was lost in which most come back, and between two offers then, at the most."""


@attrs.define
class OfferTimer:
    """One connection's.

    Args:
        first: Seconds from an offer to its repetition.
        longest: Seconds between two offers at the most, before they are spread.
        absent: The same while the other is taken for absent.
        spread: This connection's own factor, from 1 to 1.5.
        heard: When the other last sent an offer or an answer.
    """

    first: float
    longest: float
    absent: float
    spread: float
    heard: float
    due: float | None = None
    _count: int = attrs.field(default=0, init=False)
    _planned: float = attrs.field(default=-APART, init=False)
    _eager_until: float = attrs.field(default=float("-inf"), init=False)

    @property
    def is_first(self) -> bool:
        """Whether none was sent since it was last begun."""
        return self._count == 0

    def begin(self, now: float, *, lost: bool = False) -> None:
        """Offer at once, and then again and again; often at first where a direct path was *lost*."""
        self._count, self.due = 0, now
        if lost:
            self._eager_until = now + EAGER_FOR

    def again(self, now: float) -> None:
        """Offer soon, and then after the waits that it has come to: for what may happen time and again."""
        soon = max(now, self._planned + APART)
        self.due = soon if self.due is None else min(self.due, soon)

    def plan(self, now: float, longest: float | None = None) -> None:
        """The next one, after a wait that doubles."""
        if longest is None:
            longest = self.longest if now - self.heard < SILENT else self.absent
        wait = min(self.first * 2.0 ** min(self._count, 32), longest)
        if wait > EAGER_EVERY and now < self._eager_until:
            wait = EAGER_EVERY
        else:
            self._count += 1
        self._planned = now
        self.due = now + wait * self.spread

    def stop(self) -> None:
        """No more offers."""
        self.due = None
