"""Which connections may begin, and which half-open one gives way: shares for each source, pure."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from meshloom.transport_bounds import Allowance
from meshloom_transport_quic.fairness import Source

LinkT = TypeVar("LinkT", bound=Hashable)

HALF_OPEN = 128
"""Half-open connections at most, of some 80 KB each; the oldest of the network with the most gives way to a new one."""
OF_SOURCE = 64
"""Half-open connections of one source at most; the oldest of that source gives way."""
HANDSHAKE = 10.0
"""Seconds for a handshake."""
BEGUN_BURST, BEGUN_RATE = 128, 10.0
"""Handshakes that one source may begin at once, and each second after that: each costs some milliseconds of a core."""
SOURCES = 4096
"""Sources whose handshakes are counted; the one that began one longest ago is forgotten first."""


class HalfOpen(Generic[LinkT]):
    """The connections whose handshake is not complete, the oldest first.

    Args:
        most: How many there may be.
        of_source: How many of one source there may be.
    """

    def __init__(self, most: int = HALF_OPEN, of_source: int = OF_SOURCE) -> None:
        self._most, self._of_source = most, of_source
        self._all: dict[LinkT, tuple[Source, float]] = {}
        self._sources: dict[Source, dict[LinkT, None]] = {}
        self._sizes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, link: LinkT, source: Source, now: float) -> LinkT | None:
        """Adds a connection; returns the one that has to give way, which the caller ends."""
        shared = self._sources.get(source, {})
        gone = None
        if len(shared) >= self._of_source:
            gone = next(iter(shared))
        elif len(self._all) >= self._most:
            gone = next(iter(self._sources[max(self._sources, key=self._size)]))
        if gone is not None:
            self.discard(gone)
        self._all[link] = (source, now + HANDSHAKE)
        self._sources.setdefault(source, {})[link] = None
        self._sizes[source.network] = self._sizes.get(source.network, 0) + 1
        return gone

    def discard(self, link: LinkT) -> None:
        """Removes a connection whose handshake is complete, or that is over."""
        if (found := self._all.pop(link, None)) is None:
            return
        source, _ = found
        shared = self._sources[source]
        del shared[link]
        if not shared:
            del self._sources[source]
        self._sizes[source.network] -= 1
        if not self._sizes[source.network]:
            del self._sizes[source.network]

    def overdue(self, now: float) -> list[LinkT]:
        """Lists those that have taken too long."""
        return [link for link, (_, until) in self._all.items() if until <= now]

    def next_due(self) -> float | None:
        """Tells when the oldest will have taken too long."""
        return next((until for _, until in self._all.values()), None)

    def _size(self, source: Source) -> tuple[int, int, float]:
        """How many it has in its network, and itself; among equals, how early its oldest began."""
        shared = self._sources[source]
        return self._sizes[source.network], len(shared), -self._all[next(iter(shared))][1]


class Begun:
    """How often each source begins a handshake."""

    def __init__(self) -> None:
        self._sources: dict[bytes, Allowance] = {}

    def take(self, source: bytes, now: float) -> bool:
        """Counts a handshake; False where it is one too many."""
        allowance = self._sources.pop(source, None) or Allowance(BEGUN_BURST, BEGUN_RATE, now)
        self._sources[source] = allowance
        if len(self._sources) > SOURCES:
            del self._sources[next(iter(self._sources))]
        return allowance.take(now)
