"""Addresses to which nobody else may send this machine: its own, its cloud's, and those of groups."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from meshloom.model.overlay import NEVER, IPAddress, IPNetwork
from meshloom_agent.trust import Surroundings

METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # all large clouds
            "169.254.170.2",  # Amazon's containers
            "169.254.170.23",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "168.63.129.16",  # Azure
        ),
    )
)
"""Where clouds tell a machine its secrets, or take its orders."""
LINK_LOCAL: Final = ip_network("169.254.0.0/16")
TRANSLATED: Final = ip_network("64:ff9b::/96"), ip_network("2002::/16")
"""IPv6 networks whose addresses lead to an IPv4 address that is in them (RFC 6052, RFC 3056)."""
TRANSLATED_HERE: Final = ip_network("64:ff9b:1::/48")
"""The same by a network's own rule (RFC 8215): to what they lead is not known."""


def innermost(address: IPAddress) -> IPAddress:
    """Returns the IPv4 address that an IPv6 address stands for; the address itself where it stands for none."""
    if isinstance(address, IPv6Address):
        address = IPv6Address(int(address))  # without a scope
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in TRANSLATED[0]:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.sixtofour or address
    return address


def unfit_server(address: IPAddress, around: Surroundings, overlay: Collection[IPNetwork]) -> str:
    """Returns why no server that management names may be at an address; empty where one may.

    Where management itself is at the loopback, or on the link, others may be there, too: a demonstration, or a cable.
    """
    address = innermost(address)
    if address in METADATA:
        return "a cloud's metadata"
    if any(address in network for network in overlay):
        return "the overlay's"
    if address in TRANSLATED_HERE:
        return ""
    own = around.management
    for network, whose in NEVER.items():
        if address in network:
            is_near = address.is_loopback or address.is_link_local
            with_management = bool(own) and all(
                (each.is_loopback, each.is_link_local) == (address.is_loopback, address.is_link_local) for each in own
            )
            return "" if is_near and with_management else whose
    return ""


def unfit_peer(address: IPAddress, overlay: Collection[IPNetwork], *, has_link_local: bool) -> bool:
    """Tells whether no check may go to an address, whoever says that a peer is there.

    Args:
        address: The address.
        overlay: Networks of the mesh itself.
        has_link_local: Whether this machine has an IPv4 address of the link's own (RFC 3927), as on a cable.
    """
    address = innermost(address)
    if address in METADATA or address.is_loopback or address.is_multicast or address.is_unspecified:
        return True
    if address.is_link_local and not (address in LINK_LOCAL and has_link_local):
        return True  # those of IPv6 say nothing without the interface
    return any(address in network for network in overlay)
