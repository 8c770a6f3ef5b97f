"""Connections whose callers are not known, by their age and by where they come from: who gives way to a newcomer."""

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Final, Generic, TypeVar

T = TypeVar("T")

NEARLY_FULL: Final = 0.75
"""Part of the room from which on each network has a share of it."""
SHARE: Final = 8
"""One network may have an eighth of the room then."""
NETWORK_V6: Final = 64
"""Bits of an IPv6 address that whoever has one has all addresses of."""


def network_of(address: str) -> str:
    """Returns what one caller has of an address: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return (parsed.packed[: NETWORK_V6 // 8]).hex()
    return address


class Crowd(Generic[T]):
    """Members in the order in which they came; each operation takes constant time."""

    def __init__(self) -> None:
        self._all: dict[T, str] = {}
        self._networks: dict[str, dict[T, None]] = {}
        self._sizes: dict[int, dict[str, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[T]:
        return iter(self._all)

    def __contains__(self, each: T) -> bool:
        return each in self._all

    def add(self, each: T, network: str) -> None:
        """Adds the newest member."""
        self._all[each] = network
        self._networks.setdefault(network, {})[each] = None
        self._resize(network, 1)

    def move(self, each: T, network: str) -> None:
        """Counts a member, if it is one, for another network; it stays as old as it is."""
        if each in self._all:
            self._leave(each, self._all[each])
            self._all[each] = network
            self._networks.setdefault(network, {})[each] = None
            self._resize(network, 1)

    def discard(self, each: T) -> None:
        """Removes a member, if it is one."""
        network = self._all.pop(each, None)
        if network is not None:
            self._leave(each, network)

    def count(self, network: str) -> int:
        """Returns how many are of that network."""
        return len(self._networks.get(network, ()))

    def oldest(self, network: str | None = None) -> T | None:
        """Returns the oldest member, or the oldest of one network; None where there is none."""
        return next(iter(self._all if network is None else self._networks.get(network, ())), None)

    def oldest_of_most(self) -> T | None:
        """Returns the oldest member of the network that has the most, of several the one that has so for longest."""
        return self.oldest(next(iter(self._sizes[self._largest]))) if self._all else None

    def giving_way(self, network: str, taken: int, room: int) -> T | None:
        """Returns the member that gives way to a newcomer of that network; None where none needs to or can.

        Args:
            network: Where the newcomer comes from.
            taken: Places that are taken.
            room: Places in all.
        """
        leaving = self.of_too_many(network, room) if taken >= room * NEARLY_FULL else None
        return self.oldest_of_most() if leaving is None and taken >= room else leaving

    def of_too_many(self, network: str, room: int) -> T | None:
        """Returns the oldest member of a network that has its share of the room or more; None where it has less."""
        return self.oldest(network) if self.count(network) >= max(1, room // SHARE) else None

    def _leave(self, each: T, network: str) -> None:
        members = self._networks[network]
        del members[each]
        self._resize(network, -1)
        if not members:
            del self._networks[network]

    def _resize(self, network: str, change: int) -> None:
        """Sorts a network anew, whose size has changed by one."""
        size = len(self._networks[network])
        if (before := size - change) and len(self._sizes[before]) > 1:
            del self._sizes[before][network]
        elif before:
            del self._sizes[before]
        if size:
            self._sizes.setdefault(size, {})[network] = None
        if size > self._largest or self._largest not in self._sizes:
            self._largest = size
