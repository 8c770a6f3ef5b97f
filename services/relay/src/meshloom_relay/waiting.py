"""Connections that have not shown a token yet, and which of them gives way when there are too many."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Generic, TypeVar

C = TypeVar("C")

IPV6_SITE = 64
"""Bits of an IPv6 address that tell sites apart: one site has all the addresses that begin so."""


def source_of(host: str) -> str:
    """Returns what connections from the same place share: the IPv4 address, or the network of an IPv6 address."""
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(IPv6Address(int(address) >> IPV6_SITE << IPV6_SITE))
        address = address.ipv4_mapped
    return str(address)


class WaitingRoom(Generic[C]):
    """A bounded number of connections, shared out between the places that they come from.

    Args:
        most: Connections from all places together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sources: dict[str, dict[C, None]] = {}
        self._source_of: dict[C, str] = {}

    def __len__(self) -> int:
        return len(self._source_of)

    def add(self, connection: C, source: str) -> C | None:
        """Takes one in.

        Returns:
            The one that must leave for it: the oldest of the place that has most; None while there is room.
        """
        leaves = self.longest_of_the_largest() if len(self) >= self._most else None
        if leaves is not None:
            self.discard(leaves)
        self._sources.setdefault(source, {})[connection] = None
        self._source_of[connection] = source
        return leaves

    def longest_of_the_largest(self) -> C | None:
        """Returns the oldest connection of the place that has most of them; of equal places, of the earliest."""
        largest: dict[C, None] = max(self._sources.values(), key=len, default={})
        return next(iter(largest), None)

    def discard(self, connection: C) -> None:
        """Lets one go that is here no longer; nothing happens where it was not here."""
        source = self._source_of.pop(connection, None)
        if source is None:
            return
        mine = self._sources[source]
        del mine[connection]
        if not mine:
            del self._sources[source]
