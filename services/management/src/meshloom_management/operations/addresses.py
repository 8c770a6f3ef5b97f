"""Overlay addresses of peers: from the account's ranges, at random, so that they tell nothing and seldom return."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

import attrs

from meshloom.model.account import Settings
from meshloom.model.ids import GroupID, PeerID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom_management.draft import Draft
from meshloom_management.errors import PreconditionFailed

IPV6_OVERLAY = 2
"""Capability of an agent that can have an IPv6 overlay address."""
RESERVED_AT_END = 2
"""The broadcast address, and the one before it, where agents without a free port 53 answer DNS."""
TRIES = 32

A = TypeVar("A", IPv4Address, IPv6Address)


def free_ipv4(settings: Settings, taken: AbstractSet[int], entropy: Callable[[int], bytes]) -> IPv4Address:
    """An address that no peer has.

    Raises:
        PreconditionFailed: The range is used up.
    """
    network = settings.network_range
    count = network.num_addresses - 1 - RESERVED_AT_END
    for _ in range(TRIES):
        address = network[1 + int.from_bytes(entropy(8)) % count]
        if int(address) not in taken:
            return address
    for number in range(1, 1 + count):  # nearly full: look at each
        if int(network[number]) not in taken:
            return network[number]
    raise PreconditionFailed(f"the network range {network} has no address left: choose a larger one in the settings")


def free_ipv6(settings: Settings, taken: AbstractSet[int], entropy: Callable[[int], bytes]) -> IPv6Address:
    """An address that no peer has; of 64 random bits there always is one."""
    network = settings.network_range_v6
    size = 128 - network.prefixlen
    while True:
        number = int.from_bytes(entropy(16)) & ((1 << size) - 1)
        if number > 1 and int(network[number]) not in taken:
            return network[number]


def reserved(network: IPv4Network | IPv6Network) -> frozenset[IPv4Address | IPv6Address]:
    """Returns the addresses of an account's range that no peer may have.

    Of IPv4 these are the network's own, the broadcast address, and the one before it, where agents without a free
    port 53 answer DNS; of IPv6 the one of all routers (RFC 4291 section 2.6.1).
    """
    if isinstance(network, IPv6Network):
        return frozenset({network[0]})
    return frozenset({network[0], *(network[-1 - back] for back in range(RESERVED_AT_END))})


def wants_ipv6(
    state: AccountState, groups: AbstractSet[GroupID], capabilities: AbstractSet[int], disabled: bool
) -> bool:
    """Whether a peer of these groups gets an IPv6 address."""
    return not disabled and IPV6_OVERLAY in capabilities and bool(groups & state.account.settings.ipv6_enabled_groups)


def readdress(draft: Draft) -> None:
    """Give new addresses to the peers whose own are outside the account's ranges, or that shall (not) have one."""
    settings = draft.state.account.settings
    groups = draft.state.groups_of
    taken, taken_v6 = set(draft.state.taken.ips), set(draft.state.taken.ipv6s)
    changed: list[Peer] = []
    for peer in draft.state.peers.values():
        ip, ipv6 = peer.ip, peer.ipv6
        if ip not in settings.network_range:
            ip = free_ipv4(settings, taken, draft.entropy)
            taken.add(int(ip))
        own = groups.get(PeerID(peer.id), frozenset())
        if not wants_ipv6(draft.state, own, peer.meta.capabilities, peer.meta.flags.disable_ipv6):
            ipv6 = None
        elif ipv6 is None or ipv6 not in settings.network_range_v6:
            ipv6 = free_ipv6(settings, taken_v6, draft.entropy)
            taken_v6.add(int(ipv6))
        if (ip, ipv6) != (peer.ip, peer.ipv6):
            changed.append(attrs.evolve(peer, ip=ip, ipv6=ipv6))
    for peer in changed:
        draft.put(peer)
