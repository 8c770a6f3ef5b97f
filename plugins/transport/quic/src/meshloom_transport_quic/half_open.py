"""Which connections may begin, and which half-open one gives way: shares for each source, pure."""

from collections.abc import Hashable
from ipaddress import ip_address
from typing import Generic, TypeVar

from meshloom.transport_bounds import Allowance
from meshloom_transport_quic.sockets import Address

LinkT = TypeVar("LinkT", bound=Hashable)

HALF_OPEN = 512
"""Half-open connections at most; the oldest gives way to a new one."""
OF_SOURCE = 64
"""Half-open connections of one source at most; the oldest of that source gives way."""
HANDSHAKE = 10.0
"""Seconds for a handshake."""
BEGUN_BURST, BEGUN_RATE = 128, 10.0
"""Handshakes that one source may begin at once, and each second after that: each costs some milliseconds of a core."""
SOURCES = 4096
"""Sources whose handshakes are counted; the one that began one longest ago is forgotten first."""


def source_of(address: Address) -> str:
    """Tells who shares a bound: an IPv4 address, or the /64 of an IPv6 address, which is one customer's."""
    ip = ip_address(address[0].partition("%")[0])
    if ip.version == 6:
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return ip.packed[:8].hex()
    return str(ip)


class HalfOpen(Generic[LinkT]):
    """The connections whose handshake is not complete, the oldest first.

    Args:
        most: How many there may be.
        of_source: How many of one source there may be.
    """

    def __init__(self, most: int = HALF_OPEN, of_source: int = OF_SOURCE) -> None:
        self._most, self._of_source = most, of_source
        self._all: dict[LinkT, tuple[str, float]] = {}
        self._sources: dict[str, dict[LinkT, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, link: LinkT, source: str, now: float) -> LinkT | None:
        """Adds a connection; returns the one that has to give way, which the caller ends."""
        shared = self._sources.get(source, {})
        gone = None
        if len(shared) >= self._of_source:
            gone = next(iter(shared))
        elif len(self._all) >= self._most:
            gone = next(iter(self._all))
        if gone is not None:
            self.discard(gone)
        self._all[link] = (source, now + HANDSHAKE)
        self._sources.setdefault(source, {})[link] = None
        return gone

    def discard(self, link: LinkT) -> None:
        """Removes a connection whose handshake is complete, or that is over."""
        if (found := self._all.pop(link, None)) is None:
            return
        shared = self._sources[found[0]]
        del shared[link]
        if not shared:
            del self._sources[found[0]]

    def overdue(self, now: float) -> list[LinkT]:
        """Lists those that have taken too long."""
        return [link for link, (_, until) in self._all.items() if until <= now]

    def next_due(self) -> float | None:
        """Tells when the oldest will have taken too long."""
        return next((until for _, until in self._all.values()), None)


class Begun:
    """How often each source begins a handshake."""

    def __init__(self) -> None:
        self._sources: dict[str, Allowance] = {}

    def take(self, source: str, now: float) -> bool:
        """Counts a handshake; False where it is one too many."""
        allowance = self._sources.pop(source, None) or Allowance(BEGUN_BURST, BEGUN_RATE, now)
        self._sources[source] = allowance
        if len(self._sources) > SOURCES:
            del self._sources[next(iter(self._sources))]
        return allowance.take(now)
