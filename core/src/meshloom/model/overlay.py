"""Which networks a mesh may have its addresses from: the same for servers, which choose one, and for agents."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

LARGEST: Final = {4: 8, 6: 16}
"""Shortest prefixes of an overlay, by the version of IP."""
SMALLEST: Final = {4: 28, 6: 120}
"""Longest prefixes of an overlay, by the version of IP."""
NEVER: Final = {
    ip_network(text): what
    for text, what in {
        "0.0.0.0/8": "this host's own (RFC 1122)",
        "127.0.0.0/8": "the loopback's (RFC 1122)",
        "169.254.0.0/16": "link-local (RFC 3927), where clouds have their metadata",
        "224.0.0.0/4": "multicast (RFC 5771)",
        "240.0.0.0/4": "reserved (RFC 1112)",
        "::/8": "the loopback's or IPv4's (RFC 4291)",
        "64:ff9b::/32": "IPv4's (RFC 6052)",
        "2002::/16": "IPv4's (RFC 3056)",
        "fe80::/10": "link-local (RFC 4291)",
        "ff00::/8": "multicast (RFC 4291)",
        "fd00:ec2::/32": "a cloud's metadata",
    }.items()
}
"""Networks of which no address may be a mesh's, and whose they are."""


def objection(network: IPNetwork, servers: Mapping[IPAddress, str]) -> str:
    """Returns why a mesh may not have its addresses from a network; empty where it may.

    Args:
        network: All addresses of one version.
        servers: What must stay reachable beside the mesh, by its address.
    """
    if network.prefixlen < LARGEST[network.version]:
        return f"it is larger than a /{LARGEST[network.version]}"
    for forbidden, whose in NEVER.items():
        if network.version == forbidden.version and network.overlaps(forbidden):
            return f"{forbidden} is {whose}"
    for server, what in servers.items():
        if server in network:
            return f"it would cut off {what} at {server}"
    return ""
