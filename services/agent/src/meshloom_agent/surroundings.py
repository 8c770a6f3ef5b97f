"""Addresses around this machine: of its servers, and of its router."""

import contextlib
import logging
from ipaddress import ip_address
from pathlib import Path

import anyio

from meshloom.errors import words_of
from meshloom.model.overlay import IPAddress
from meshloom_agent.channel import ServerAddress
from meshloom_linux.gateway import Router, default_router

_log = logging.getLogger(__name__)

SOON = 3.0
"""Seconds for the addresses of a server where the start waits for them."""
ROUTES = Path("/proc/net/route")


async def addresses_of(server: ServerAddress, within: float = SOON) -> frozenset[IPAddress]:
    """Returns the addresses of a server's host, as far as they can be found in time."""
    host, _, port = server.target.rpartition(":")
    found: set[IPAddress] = set()
    with anyio.move_on_after(within):
        try:
            for *_, address in await anyio.getaddrinfo(host.strip("[]"), int(port), type=1):
                found.add(ip_address(str(address[0]).partition("%")[0]))
        except (OSError, UnicodeError) as error:
            _log.debug("the address of %s is not known: %s", host, words_of(error))
    return frozenset(found)


def router() -> Router | None:
    """Returns this host's router, where the kernel tells of one."""
    with contextlib.suppress(OSError, ValueError):
        return default_router(ROUTES.read_text().splitlines())
    return None
