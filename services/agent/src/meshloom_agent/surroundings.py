"""Addresses around this machine: of its servers, and of its router."""

import contextlib
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import anyio

from meshloom_agent.channel import ServerAddress
from meshloom_agent.trust import IPAddress
from meshloom_linux.gateway import default_gateway

_log = logging.getLogger(__name__)

RESOLVE_WITHIN = 3.0
ROUTES = Path("/proc/net/route")


async def addresses_of(server: ServerAddress) -> frozenset[IPAddress]:
    """Returns the addresses of a server's host, as far as they can be found within a moment."""
    host, _, port = server.target.rpartition(":")
    found: set[IPAddress] = set()
    with anyio.move_on_after(RESOLVE_WITHIN):
        try:
            for *_, address in await anyio.getaddrinfo(host.strip("[]"), int(port), type=1):
                found.add(ip_address(str(address[0]).partition("%")[0]))
        except (OSError, UnicodeError) as error:
            _log.debug("the address of %s is not known: %s", host, error)
    return frozenset(found)


async def resolved(servers: Sequence[tuple[str, int]], *, ipv6: bool) -> list[tuple[str, int]]:
    """Returns the addresses of servers, each with its port; those that have none are logged."""
    found = []
    for host, port in servers:
        try:
            for *_, address in await anyio.getaddrinfo(host, port, type=2):
                if ipv6 or ":" not in str(address[0]):
                    found.append((str(address[0]), int(address[1])))
        except OSError as error:
            _log.warning("the STUN server %s has no address: %s", host, error)
    return found


def gateway() -> IPAddress | None:
    """Returns this host's router, where the kernel tells of one."""
    with contextlib.suppress(OSError, ValueError):
        if found := default_gateway(ROUTES.read_text().splitlines()):
            return ip_address(found)
    return None
