"""Addresses and MTU of a link, by netlink: only the difference is applied."""

from collections.abc import Iterable
from ipaddress import ip_interface

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshloom.errors import TunnelError
from meshloom.tunnel import IPInterface

ENODEV, EEXIST, EADDRNOTAVAIL = 19, 17, 99


async def link_index(name: str) -> int | None:
    """The link's number; None where there is no such link."""
    async with AsyncIPRoute() as netlink:
        found = await netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None


async def link_kind(name: str) -> str | None:
    """The link's kind (``wireguard``, ``tun``); None where there is no such link."""
    async with AsyncIPRoute() as netlink:
        try:
            async for link in await netlink.link("get", ifname=name):
                return str((link.get("linkinfo") or {}).get("kind") or "")
        except NetlinkError as error:
            if error.code == ENODEV:
                return None
            raise TunnelError(f"the interface {name} cannot be looked at: {error}") from error
    return None


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
                more = {"flags": 0x02} if new.version == 6 else {}  # IFA_F_NODAD: nobody else can have it
                await netlink.addr("add", index=index, address=str(new.ip), prefixlen=new.network.prefixlen, **more)
    except NetlinkError as error:
        if error.code == 1:
            raise TunnelError(f"the interface {name} may not be changed: run as root or with CAP_NET_ADMIN") from error
        raise TunnelError(f"the interface {name} cannot be configured: {error}") from error


async def remove_link(name: str) -> None:
    """Remove it; one that is not there is no error."""
    async with AsyncIPRoute() as netlink:
        found = await netlink.link_lookup(ifname=name)
        if found:
            try:
                await netlink.link("del", index=found[0])
            except NetlinkError as error:
                if error.code != ENODEV:
                    raise TunnelError(f"the interface {name} cannot be removed: {error}") from error
