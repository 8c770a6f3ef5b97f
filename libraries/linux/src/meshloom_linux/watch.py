"""Addresses of this host, and when they change: from the kernel's own announcements (rtnetlink(7))."""

import asyncio
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_address

import anyio
from pyroute2 import AsyncIPRoute

ADDRESSES = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR; routes follow addresses and would be our own as well."""
EVERYTHING = ADDRESSES | 0x40 | 0x400
"""The same with RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE."""
SETTLE = 0.15
"""Seconds to let a burst of announcements end: an address that moves is one removed and one added."""

LAST = 9
NOT_A_PATH = (
    *(
        "wt",
        "utun",
        "tun0",
        "zt",
        "ZeroTier",
        "wg",
        "ts",
        "Tailscale",
        "tailscale",
        "docker",
        "veth",
        "br-",
        "lo",
        "ml",
    ),
)
"""Beginnings of names of interfaces whose addresses no other machine can use."""


@asynccontextmanager
async def network_changes(groups: int = ADDRESSES) -> AsyncIterator[AsyncIterator[None]]:
    """Yields once for each burst of changes of links or addresses.

    Args:
        groups: What is announced: :data:`ADDRESSES`, or :data:`EVERYTHING`.
    """
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    made.setblocking(False)
    made.bind((0, groups))
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            while made.recv(65536):
                pass
        except BlockingIOError:
            pass
        except OSError:
            pass  # ENOBUFS: more came than fitted, which is a change, too
        changed.set()

    async def bursts() -> AsyncIterator[None]:
        while True:
            await changed.wait()
            await anyio.sleep(SETTLE)
            changed.clear()
            yield

    loop.add_reader(made, read)
    iterator = bursts()
    try:
        yield iterator
    finally:
        await iterator.aclose()  # type: ignore[attr-defined]
        loop.remove_reader(made)
        made.close()


async def host_interfaces(besides: Collection[str] = (), excluded: Collection[str] = ()) -> list[tuple[str, str]]:
    """Addresses at which others may reach this host, IPv4 first, in the order of the interfaces, with their names.

    Last come IPv4 addresses of the link's own (RFC 3927), as two hosts on one cable have them.

    Args:
        besides: Names of interfaces that do not count: the overlay's own.
        excluded: Further beginnings of such names.
    """
    found: list[tuple[int, int, str]] = []
    async with AsyncIPRoute() as netlink:
        names = {}
        async for link in await netlink.link("dump"):
            name = str(link.get("ifname"))
            if link["flags"] & 1 and name not in besides and not name.startswith((*NOT_A_PATH, *excluded)):
                names[link["index"]] = name
        async for message in await netlink.addr("dump"):
            text = message.get("local") or message.get("address")
            if message["index"] not in names or not text:
                continue
            address = ip_address(text)
            if address.is_loopback or address.is_multicast or (address.is_link_local and address.version == 6):
                continue  # an IPv6 address of the link's own says nothing without the interface
            found.append((LAST if address.is_link_local else address.version, message["index"], str(address)))
    return [(text, names[index]) for _, index, text in sorted(found, key=lambda item: item[:2])]
