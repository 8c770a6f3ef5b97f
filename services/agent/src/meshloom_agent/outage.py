"""What the log tells of something that goes away and comes back: each cause once, and that it is back."""

import logging

import attrs

MOST_CAUSES = 16
"""Causes of one outage that are remembered as told; what varies without end is told without end only in the ring."""


@attrs.define
class Outage:
    """One server's, or another thing's that is tried again and again.

    Args:
        what: Its name in sentences, such as ``signal at https://mesh.example.net``.
        log: Where it is told.
    """

    what: str
    log: logging.Logger
    _since: float | None = attrs.field(default=None, init=False)
    _is_up: bool = attrs.field(default=False, init=False)
    _told: set[str] = attrs.field(factory=set, init=False)

    def failed(self, why: str, now: float) -> None:
        """Tells why it is away; the same cause again only to those who want to see everything."""
        self._is_up = False
        self._since = now if self._since is None else self._since
        is_news = why not in self._told and len(self._told) < MOST_CAUSES
        if is_news:
            self._told.add(why)
        self.log.log(logging.WARNING if is_news else logging.DEBUG, "%s is away: %s; trying again", self.what, why)

    def back(self, now: float, by: str = "") -> None:
        """Tells that it is there, once.

        Args:
            now: The present.
            by: What more to tell, such as ``over quic``.
        """
        if self._is_up:
            return
        more = f", {by}" if by else ""
        if self._since is None:
            self.log.info("%s is connected%s", self.what, more)
        else:
            self.log.info("%s is back after %.0f s%s", self.what, now - self._since, more)
        self._is_up, self._since = True, None
        self._told.clear()
