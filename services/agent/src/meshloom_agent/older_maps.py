"""When maps with a lower number than the newest one's are believed after all.

A recording has lower numbers, and so has a server that was restored from a backup or once told a number that is far
too high. Where nothing proves that a stream is fresh, a recording differs only in that somebody must keep the server
away for as long as it is played.
"""

import logging

import attrs

_log = logging.getLogger(__name__)

BELIEVED_AFTER = 3 * 3600.0
"""Seconds for which a server must have told lower numbers only."""


@attrs.define
class OlderMaps:
    """What a server has told since its newest map."""

    _since: float | None = attrs.field(default=None, init=False)
    _highest: int = attrs.field(default=0, init=False)

    def are_believed(self, serial: int, newest: int, now: float) -> bool:
        """Notes a map that came; tells whether such maps count in spite of their lower numbers.

        Args:
            serial: The map's number.
            newest: The number of the newest map that was taken over.
            now: The present.
        """
        if serial >= newest:
            self._since = None
            return False
        if self._since is None or serial < self._highest:  # a server's own maps never go back
            self._since = now
        self._highest = serial
        if now - self._since < BELIEVED_AFTER:
            return False
        _log.warning(
            "network maps of serial %d and up are taken over, though there was one of %d: the server has told no other"
            " for %.0f hours",
            serial,
            newest,
            (now - self._since) / 3600,
        )
        self._since = None
        return True
