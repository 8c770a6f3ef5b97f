"""Addresses and MTU of a link, by netlink: only the difference is applied."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import ip_interface

import attrs
from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshloom.errors import TunnelError, words_of
from meshloom.tunnel import IPInterface
from meshloom_linux.ipv6 import ipv6_objection

EPERM, EACCES, ENODEV, EOPNOTSUPP, ENOBUFS = 1, 13, 19, 95, 105
RTMGRP_LINK = 0x1


@attrs.frozen
class Link:
    """A network interface.

    Args:
        kind: ``wireguard``, ``tun``, ...; empty where the kernel says none.
        alias: What whoever made it wrote on it.
    """

    index: int
    kind: str
    alias: str


async def find_link(name: str) -> Link | None:
    """The link of that name; None where there is no such link."""
    async with AsyncIPRoute() as netlink:
        try:
            for link in await netlink.link("get", ifname=name):
                kind = (link.get("linkinfo") or {}).get("kind")
                return Link(int(link["index"]), str(kind or ""), str(link.get("ifalias") or ""))
        except NetlinkError as error:
            if error.code == ENODEV:
                return None
            raise TunnelError(f"the interface {name} cannot be looked at: {words_of(error)}") from error
    return None


async def add_link(name: str, kind: str, alias: str) -> Link:
    """Make a link, which is down.

    Raises:
        TunnelError: The kernel does not know the kind, or it is not allowed.
    """
    async with AsyncIPRoute() as netlink:
        try:
            await netlink.link("add", ifname=name, kind=kind)
            await netlink.link("set", index=socket.if_nametoindex(name), ifalias=alias)
        except NetlinkError as error:
            raise refusal(name, error, f"this kernel has no links of the kind {kind}: modprobe {kind}") from error
    found = await find_link(name)
    if found is None:
        raise TunnelError(f"the interface {name} is gone")
    return found


async def raise_link(name: str, alias: str) -> None:
    """Bring it up as it is, and write the alias on it.

    Raises:
        TunnelError: It is gone, or may not be changed.
    """
    async with AsyncIPRoute() as netlink:
        try:
            found = await netlink.link_lookup(ifname=name)
            if not found:
                raise TunnelError(f"the interface {name} is gone")
            await netlink.link("set", index=found[0], state="up", ifalias=alias)
        except NetlinkError as error:
            raise refusal(name, error) from error


async def wait_gone(name: str, index: int) -> None:
    """Return when the link with that name and number is no more: removed, renamed, or moved to another namespace."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    made.setblocking(False)
    try:
        made.bind((0, RTMGRP_LINK))
        while _index(name) == index:
            try:
                await asyncio.get_running_loop().sock_recv(made, 65536)
            except OSError as error:
                if error.errno != ENOBUFS:  # more announcements came than fitted: one of them may be ours
                    raise
    finally:
        made.close()


async def configure_link(name: str, addresses: Iterable[IPInterface], mtu: int) -> None:
    """Give the link just these addresses and that MTU, and bring it up.

    Raises:
        TunnelError: There is no such link, or it cannot be changed.
    """
    wanted = set(addresses)
    try:
        async with AsyncIPRoute() as netlink:
            found = await netlink.link_lookup(ifname=name)
            if not found:
                raise TunnelError(f"the interface {name} is gone")
            index = found[0]
            present = set()
            async for message in await netlink.addr("dump", index=index):
                host = message.get("local") or message.get("address")
                present.add(ip_interface(f"{host}/{message['prefixlen']}"))
            for old in present - wanted:
                if not old.ip.is_link_local:
                    await netlink.addr("del", index=index, address=str(old.ip), prefixlen=old.network.prefixlen)
            await netlink.link("set", index=index, mtu=mtu, state="up")
            for new in wanted - present:
                await add_address(netlink, index, new)
    except NetlinkError as error:
        raise refusal(name, error) from error


async def add_address(netlink: AsyncIPRoute, index: int, address: IPInterface) -> None:
    """Gives the link one more address.

    Raises:
        NetlinkError: The kernel refuses.
    """
    more = {"flags": 0x02} if address.version == 6 else {}  # IFA_F_NODAD: nobody else can have it
    await netlink.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **more)


async def remove_link(name: str) -> None:
    """Remove it; one that is not there is no error."""
    async with AsyncIPRoute() as netlink:
        found = await netlink.link_lookup(ifname=name)
        if found:
            try:
                await netlink.link("del", index=found[0])
            except NetlinkError as error:
                if error.code != ENODEV:
                    raise TunnelError(f"the interface {name} cannot be removed: {words_of(error)}") from error


def _index(name: str) -> int | None:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def refusal(name: str, error: NetlinkError, unsupported: str = "") -> TunnelError:
    """The kernel's refusal in words."""
    if error.code == EPERM:
        return TunnelError(f"the interface {name} may not be changed: run as root, or with CAP_NET_ADMIN")
    if error.code == EACCES and (objection := ipv6_objection(name)):
        return TunnelError(f"the interface {name} cannot have an IPv6 address: {objection}")
    if error.code == EOPNOTSUPP and unsupported:
        return TunnelError(unsupported)
    return TunnelError(f"the interface {name} cannot be configured: {words_of(error)}")
