"""What one peer, and all of them, may cost the relay."""

from collections.abc import Callable

import attrs

BURST = 0.25
"""Seconds' worth of a rate that may come at once."""
SMALLEST_BURST = 128 * 1024


@attrs.frozen
class RelayLimits:
    """Bounds of a relay.

    Args:
        peers: Connections in all, with those that have not said yet who they are.
        waiting: Of those; the oldest gives way to a new one.
        queue: Bytes waiting for one peer that reads slowly; the oldest packets give way.
        peer_rate: Bytes a second that one peer may send; 0 for no bound.
        total_rate: Bytes a second of all peers together; 0 for no bound.
    """

    peers: int = 20_000
    waiting: int = 1_000
    queue: int = 256 * 1024
    peer_rate: int = 0
    total_rate: int = 0


class Bucket:
    """Bytes that may pass, refilled at a rate.

    Args:
        rate: Bytes a second.
        monotonic: Seconds.
    """

    __slots__ = ("_left", "_monotonic", "_most", "_rate", "_since")

    def __init__(self, rate: int, monotonic: Callable[[], float]) -> None:
        self._rate, self._monotonic = rate, monotonic
        self._most = self._left = max(SMALLEST_BURST, rate * BURST)
        self._since = monotonic()

    def take(self, size: int) -> bool:
        """Whether so many bytes may pass now; what may not is not counted."""
        self._left -= size
        if self._left >= 0:
            return True
        now = self._monotonic()
        self._left = min(self._most, self._left + size + (now - self._since) * self._rate) - size
        self._since = now
        if self._left >= 0:
            return True
        self._left += size
        return False
