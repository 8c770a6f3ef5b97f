"""What one peer, and all of them, may cost the relay."""

from collections import Counter
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
        waiting: Of those; the oldest of the address that has most gives way to a new one.
        per_token: Connections with the same token, where it names no peer.
        queue: Bytes waiting for one peer that reads slowly; the oldest packets give way.
        total_queue: Bytes waiting for all such peers; the oldest packets of the one with most give way.
        total_watched: Peers that all peers together watch; half of it is shared out evenly.
        peer_rate: Bytes a second that one peer may send; 0 for no bound.
        total_rate: Bytes a second of all peers together; 0 for no bound.
    """

    peers: int = 20_000
    waiting: int = 1_000
    per_token: int = 1_000
    queue: int = 256 * 1024
    total_queue: int = 256 * 1024 * 1024
    total_watched: int = 2_000_000
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


class WatchPool:
    """How many peers all peers together may watch: each has a share of its own, and the rest is for all.

    Args:
        most: Watched peers in all.
        peers: Peers that half of them are shared out to.
    """

    def __init__(self, most: int, peers: int) -> None:
        self._share = most // 2 // max(1, peers)
        self.left = most - self._share * peers

    def take(self, has: int, wanted: int) -> int:
        """Returns how many more may be watched by one that has so many already; they are counted."""
        own = max(0, self._share - has)
        granted = min(wanted, own + self.left)
        self.left -= max(0, granted - own)
        return granted

    def give_back(self, had: int, gone: int) -> None:
        """Counts that one which had so many watches so many fewer."""
        self.left += max(0, had - self._share) - max(0, had - gone - self._share)


class Tokens:
    """How many connections share each token that names no peer.

    Args:
        most: Connections with the same token.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._used: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._used)

    def take(self, mark: bytes) -> bool:
        """Counts one more connection, if there may be one."""
        if self._used[mark] >= self._most:
            return False
        self._used[mark] += 1
        return True

    def give_back(self, mark: bytes) -> None:
        """Counts one connection less."""
        self._used[mark] -= 1
        if not self._used[mark]:
            del self._used[mark]
