"""Where a request comes from that passes a reverse proxy: the proxy says so, if it is one that is believed."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

HEADER: Final = b"x-forwarded-for"
"""Each proxy appends the address that it was called from; what stands before may be invented."""
LONGEST: Final = 64
"""Characters of an address with a port and brackets, and some more."""
MOST: Final = 32
"""Proxies in a row."""
LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

Network = IPv4Network | IPv6Network


class Proxies:
    """The reverse proxies that are believed.

    Args:
        networks: Networks of their addresses.
    """

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self.trusts = lru_cache(4096)(self._trusts)
        """Tells whether a proxy at that address is believed."""

    def origin(self, address: str, said: bytes) -> str:
        """Returns where a request comes from: the last address of which no believed proxy says where that had it from.

        Args:
            address: The other side of the connection.
            said: The field :data:`HEADER` of the request; several of them in their order, joined by commas.
        """
        if not said or not self.trusts(address):
            return address
        for _ in range(MOST):
            said, _, last = said.rpartition(b",")
            named = _address(last)
            if not named:
                break
            address = named
            if not said or not self.trusts(address):
                break
        return address

    def _trusts(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(
            parsed.version == network.version and parsed in network for network in self._networks
        )


NOBODY: Final = Proxies()


def _address(text: bytes) -> str:
    """Returns the address of one entry, in one spelling and without its port; nothing where it is not an address."""
    entry = text[-LONGEST - 1 :].decode("latin-1").strip()
    if len(entry) > LONGEST:
        return ""
    if entry[:1] == "[":
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    parsed = _parsed(entry)
    return "" if parsed is None else str(parsed)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (parsed.version == 6 and parsed.ipv4_mapped) or parsed
