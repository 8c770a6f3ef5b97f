"""Keeps a link as it was configured: compares what the kernel has now with what was asked for.

What is missing is added; addresses and routes that others have added stay.
"""

import socket
from collections.abc import Collection, Mapping
from ipaddress import ip_interface, ip_network

import attrs
from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshloom.errors import TunnelError
from meshloom.tunnel import IPInterface, IPNetwork
from meshloom_linux.links import add_address, refusal
from meshloom_linux.peer_routes import PeerRoutes

MAIN, LOCAL = 254, 255
"""Tables of routes (rtnetlink(7)): of other hosts, and of this host's own addresses."""
KERNEL, TYPE_LOCAL, SCOPE_LINK, SCOPE_HOST = 2, 2, 253, 254
IFF_UP = 0x1
MTU_METRIC = "mtu"


@attrs.frozen
class LinkState:
    """A link with what leads to it.

    Attributes:
        routes: Networks that are routed to the link, by table.
        mtus: Routes with an MTU of their own.
    """

    is_up: bool = True
    mtu: int = 0
    addresses: frozenset[IPInterface] = frozenset()
    routes: frozenset[tuple[int, IPNetwork]] = frozenset()
    mtus: Mapping[IPNetwork, int] = attrs.field(factory=dict)


def wanted_state(addresses: Collection[IPInterface], mtu: int, mtus: Mapping[IPNetwork, int]) -> LinkState:
    """Returns the state in which the kernel puts a link that is up and has these addresses."""
    routes: set[tuple[int, IPNetwork]] = {(LOCAL, ip_network(each.ip)) for each in addresses}
    routes |= {(MAIN, each.network) for each in addresses if each.network.prefixlen < each.max_prefixlen}
    return LinkState(True, mtu, frozenset(addresses), frozenset(routes), mtus)


def link_differences(wanted: LinkState, found: LinkState) -> list[str]:
    """Returns what of a link is not as wanted, in words; what follows from another difference is not said again."""
    if not found.is_up:
        return ["it was down"]
    said = [f"its MTU was {found.mtu} instead of {wanted.mtu}"] if found.mtu != wanted.mtu else []
    gone = sorted(map(str, wanted.addresses - found.addresses))
    said += [f"its address {each} was gone" for each in gone]
    if gone:
        return said
    said += [f"its route to {network} was gone" for _, network in sorted(wanted.routes - found.routes, key=str)]
    lost = sum(found.mtus.get(network) != mtu for network, mtu in wanted.mtus.items())
    return [*said, f"{lost} of its routes to single peers were gone"] if lost else said


async def put_link_back(
    name: str, addresses: Collection[IPInterface], mtu: int, routes: PeerRoutes, look_only: bool = False
) -> list[str]:
    """Makes the link what it was configured as; returns what was different.

    Args:
        name: Of the link.
        addresses: Those that it was given.
        mtu: The one that it was given.
        routes: Routes of single peers over it.
        look_only: Whether the difference is only told.

    Raises:
        TunnelError: It is gone, or cannot be changed.
    """
    wanted = wanted_state(addresses, mtu, routes.made)
    try:
        async with AsyncIPRoute(strict_check=True) as netlink:
            index, found = await _read(netlink, name)
            said = link_differences(wanted, found)
            if not said or look_only:
                return said
            if not found.is_up or found.mtu != mtu:
                await netlink.link("set", index=index, mtu=mtu, state="up")
                _, found = await _read(netlink, name)  # what leads to it goes and comes with it
            if missing := wanted.addresses - found.addresses:
                for each in missing:
                    await add_address(netlink, index, each)
                _, found = await _read(netlink, name)
            for table, network in wanted.routes - found.routes:
                await _add_route(netlink, index, table, network, addresses)
            await routes.put_back(netlink, index, found.mtus)
    except NetlinkError as error:
        raise refusal(name, error) from error
    return said


async def _read(netlink: AsyncIPRoute, name: str) -> tuple[int, LinkState]:
    try:
        index = socket.if_nametoindex(name)
    except OSError as error:
        raise TunnelError(f"the interface {name} is gone") from error
    (link, *_) = [each async for each in await netlink.link("dump") if each["index"] == index]
    addresses = set()
    async for message in await netlink.addr("dump", index=index):
        host = message.get("local") or message.get("address")
        addresses.add(ip_interface(f"{host}/{message['prefixlen']}"))
    routes: set[tuple[int, IPNetwork]] = set()
    mtus: dict[IPNetwork, int] = {}
    for family, anything in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        async for message in await netlink.route("dump", family=family, oif=index):
            network = ip_network(f"{message.get('dst') or anything}/{message['dst_len']}")
            routes.add((int(message.get("table") or message["table"]), network))
            if metrics := message.get("metrics"):
                mtus[network] = int(metrics.get(MTU_METRIC) or 0)
    is_up = bool(link["flags"] & IFF_UP)
    return index, LinkState(is_up, int(link.get("mtu") or 0), frozenset(addresses), frozenset(routes), mtus)


async def _add_route(
    netlink: AsyncIPRoute, index: int, table: int, network: IPNetwork, addresses: Collection[IPInterface]
) -> None:
    """Adds a route as the kernel makes it for an address."""
    about = {"dst": str(network), "oif": index, "table": table, "proto": KERNEL}
    if table == LOCAL:
        about |= {"type": TYPE_LOCAL, "scope": SCOPE_HOST if network.version == 4 else 0}
    elif network.version == 4:
        about |= {"scope": SCOPE_LINK}
    if network.version == 4:
        about["prefsrc"] = next(str(each.ip) for each in addresses if each.ip in network)
    await netlink.route("replace", **about)
