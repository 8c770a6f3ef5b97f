"""What people are told of the search for a direct path to a peer."""

import attrs

WAITING = "waiting for its offer"
LOOKING = "looking for a direct path"
NO_DIRECT_PATH = "no direct path"
LOST = "the direct path was lost"
NO_ADDRESS = "it told no address"
NOT_OFFERED = "it offers no direct path"
SWITCHED_OFF = "direct paths are switched off"
LONGEST = 15.0
"""Seconds from the beginning of a search after which nothing is to be hoped for from what was told until then."""


@attrs.frozen
class Try:
    """The next try.

    Args:
        due: When an offer is due; None for never.
        has_signal: Whether it can be sent.
        is_under_way: Whether addresses are being tried.
    """

    due: float | None
    has_signal: bool = True
    is_under_way: bool = False


@attrs.define
class Search:
    """One peer's; sessions begin again and again, so that one session says little.

    Attributes:
        reason: Why there is no direct path, one of the texts of this module.
    """

    reason: str = WAITING
    _since: float | None = attrs.field(default=None, init=False)

    def begin(self, now: float) -> None:
        """A session begins; where none has found a path yet, the search goes on."""
        if self._since is None:
            self._since = now
        if self.reason != NO_DIRECT_PATH:
            self.reason = LOOKING

    def found(self) -> None:
        """There is a direct path."""
        self._since, self.reason = None, LOOKING

    def told(self, now: float) -> str:
        """Returns why there is no direct path: a peer that begins anew all the time is not looked for for ever."""
        is_long = self._since is not None and now - self._since > LONGEST
        return NO_DIRECT_PATH if self.reason == LOOKING and is_long else self.reason

    def told_relayed(self, now: float, next_try: Try) -> str:
        """Returns the same with when the next try is, while the relay carries the packets."""
        reason = self.told(now)
        if reason not in (NO_DIRECT_PATH, LOST, NO_ADDRESS):
            return reason
        text = "no direct path was found" if reason == NO_DIRECT_PATH else reason
        if next_try.is_under_way:
            return f"relayed: {text}; the next try is under way"
        if not next_try.has_signal:
            return f"relayed: {text}; the next try waits for signal, which is away"
        return f"relayed: {text}" + (f"; next try in {span(next_try.due - now)}" if next_try.due is not None else "")


def span(seconds: float) -> str:
    """Returns a duration as people say it, rounded up."""
    whole = max(1, int(-(-seconds // 1)))
    if whole < 90:
        return f"{whole} s"
    minutes = -(-whole // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
