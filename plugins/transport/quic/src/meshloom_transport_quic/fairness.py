"""Who of those that are not admitted comes first: who has had least CPU time, of what waits and what may wait; pure."""

from collections import deque
from ipaddress import ip_address
from typing import Final, Generic, NamedTuple, TypeVar

from meshloom_transport_quic.sockets import Address

WorkT = TypeVar("WorkT")

HALF_LIFE: Final = 10.0
"""Seconds after which CPU time that was had counts for half."""
WAITING: Final = 64
"""Datagrams and timers that wait; where there are more, the oldest of the network with the most gives way."""
STALE: Final = 1.0
"""Seconds after which what waits is not done any more: the other side has sent it again, or has gone."""
REMEMBERED: Final = 4096
"""Networks, and sources, whose CPU time is remembered; the one that had some longest ago is forgotten first."""
HEAVIEST: Final = 2.0**64
"""Weight of a second of CPU from which on all are written down again."""
NEGLIGIBLE: Final = 1e-5
"""Seconds of CPU that count as none."""
NETWORK_V4, NETWORK_V6, SOURCE_V6 = 3, 6, 8
"""Bytes of an address that tell the network and the source: /24, /48 and /64."""


class Source(NamedTuple):
    """Where datagrams come from.

    Attributes:
        network: What one who has many addresses has of them: a /24 of IPv4 or a /48 of IPv6.
        own: An IPv4 address, or the /64 of an IPv6 address, which is one customer's.
    """

    network: bytes
    own: bytes


def source_of(address: Address) -> Source:
    """Tells who shares a bound."""
    ip = ip_address(address[0].partition("%")[0])
    if ip.version == 6 and ip.ipv4_mapped is None:
        return Source(ip.packed[:NETWORK_V6], ip.packed[:SOURCE_V6])
    packed = ip.packed[-4:]
    return Source(packed[:NETWORK_V4], packed)


class Had:
    """How much CPU time each name has had lately. What is told can be compared, but says nothing by itself.

    A second weighs twice as much each half-life, so that nothing has to be counted down.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, float] = {}
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._names)

    def of(self, name: bytes) -> float:
        """Returns 0 for a newcomer."""
        return self._names.get(name, 0.0)

    def spend(self, name: bytes, seconds: float, now: float) -> None:
        """Takes note of CPU time."""
        weight = 2.0 ** ((now - self._since) / HALF_LIFE) if now - self._since < 100 * HALF_LIFE else HEAVIEST
        if weight >= HEAVIEST:
            self._write_down(now)
            weight = 1.0
        self._names[name] = self._names.pop(name, 0.0) + seconds * weight
        if len(self._names) > REMEMBERED:
            del self._names[next(iter(self._names))]

    def _write_down(self, now: float) -> None:
        """Begins at 1 again with the weights."""
        factor = 2.0 ** max(-1000.0, (self._since - now) / HALF_LIFE)
        self._since = now
        self._names = {name: had * factor for name, had in self._names.items() if had * factor > NEGLIGIBLE}


class Waiting(Generic[WorkT]):
    """What waits for its turn.

    Args:
        most: How much may wait.
    """

    def __init__(self, most: int = WAITING) -> None:
        self._most = most
        self._count = 0
        self._queues: dict[bytes, dict[bytes, deque[tuple[float, WorkT]]]] = {}
        self._sizes: dict[bytes, int] = {}
        self._networks, self._sources = Had(), Had()

    def __len__(self) -> int:
        return self._count

    def spend(self, source: Source, seconds: float, now: float) -> None:
        """Takes note of CPU time that a source has had."""
        self._networks.spend(source.network, seconds, now)
        self._sources.spend(source.own, seconds, now)

    def add(self, work: WorkT, source: Source, now: float) -> WorkT | None:
        """Adds work; returns what gives way, which may be that."""
        self._queues.setdefault(source.network, {}).setdefault(source.own, deque()).append((now, work))
        self._sizes[source.network] = self._sizes.get(source.network, 0) + 1
        self._count += 1
        if self._count <= self._most:
            return None
        largest = max(self._sizes, key=self._sizes.__getitem__)
        shared = self._queues[largest]
        return self._take(Source(largest, max(shared, key=lambda own: len(shared[own]))))[1]

    def pop(self, now: float) -> tuple[WorkT, Source, bool] | None:
        """Removes and returns what comes first, its source, and whether it is too late for it; None where none waits.

        The network that has had least comes first, in it the source that has had least, and of that the oldest.
        """
        if not self._queues:
            return None
        network = min(self._queues, key=self._networks.of)
        source = Source(network, min(self._queues[network], key=self._sources.of))
        since, work = self._take(source)
        return work, source, now - since > STALE

    def clear(self) -> None:
        """Forgets what waits."""
        self._queues.clear()
        self._sizes.clear()
        self._count = 0

    def _take(self, source: Source) -> tuple[float, WorkT]:
        """The oldest of a source."""
        shared = self._queues[source.network]
        taken = shared[source.own].popleft()
        if not shared[source.own]:
            del shared[source.own]
        self._count -= 1
        self._sizes[source.network] -= 1
        if not shared:
            del self._queues[source.network], self._sizes[source.network]
        return taken
