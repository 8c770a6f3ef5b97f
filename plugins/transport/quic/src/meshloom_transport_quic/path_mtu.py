"""How large a packet a path carries: a short search by probes (RFC 8899, RFC 9000 section 14.3).

The handshake and the first packets have the size that every IPv6 path carries. Larger ones follow when a probe of
their size was acknowledged.
"""

SAFE = 1232
"""Bytes of UDP payload that every path of IPv6 carries: 1280 less the two headers."""
NARROW = (1392,)
"""Tried below the largest: IPv4 through a tunnel of 1420, still enough for a WireGuard packet of MTU 1280."""
TRIES = 3


class Search:
    """Which size to probe next; begins anew when the path changes.

    Args:
        largest: Bytes of the largest packet that is tried.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.restart()

    def restart(self) -> None:
        """Another path: only what every path carries is known."""
        self.size = SAFE
        self.round = getattr(self, "round", 0) + 1
        self._sizes = [self._largest, *(size for size in NARROW if size < self._largest)]
        self._tries = 0

    @property
    def next(self) -> int | None:
        """Bytes of the probe to send now; None where the search is over."""
        return self._sizes[0] if self._sizes and self._sizes[0] > self.size else None

    def arrived(self, size: int) -> None:
        """A probe of that size was acknowledged."""
        self.size = max(self.size, size)
        self._sizes = []

    def lost(self) -> None:
        """The probe was lost, for its size or by chance."""
        self._tries += 1
        if self._tries == TRIES:
            self.refused()

    def refused(self) -> None:
        """The interface itself does not carry the size that is being probed."""
        self._tries = 0
        self._sizes = self._sizes[1:]
