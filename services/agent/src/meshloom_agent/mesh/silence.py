"""Whether WireGuard shakes hands with a peer over the path in use; where it does not, when to look for another path."""

import attrs

LONGEST = 3600.0
"""Seconds between two new beginnings at the most: what two machines do not agree on no path mends."""


@attrs.define
class Silence:
    """One peer's.

    Args:
        within: Seconds in which WireGuard renews its handshake on a path that works.
    """

    within: float
    _wait: float = attrs.field(init=False)
    _began: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self._wait = self.within

    def is_dead(self, latest: float | None, since: float, now: float) -> bool:
        """Tells whether another path must be looked for now; the next time is twice as far away.

        Args:
            latest: When WireGuard last shook hands; None for never.
            since: From when on there has been a path without a break.
            now: The present.
        """
        if latest is not None and now - latest <= self.within:
            self._wait, self._began = self.within, float("-inf")
            return False
        if now - max(since, self._began) <= self._wait:
            return False
        self._began, self._wait = now, min(2 * self._wait, LONGEST)
        return True
