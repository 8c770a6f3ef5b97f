"""Where names of hosts lead to, as far as that is known within moments."""

import logging
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import anyio

from meshloom.errors import words_of
from meshloom.model.overlay import IPAddress

_log = logging.getLogger(__name__)

WITHIN: Final = 3.0
"""Seconds that all names together may take."""


async def resolved(hosts: Mapping[str, str], within: float = WITHIN) -> dict[IPAddress, str]:
    """Returns the addresses of hosts, each with what the host is. Names that lead nowhere in time are left out."""
    found: dict[IPAddress, str] = {}
    with anyio.move_on_after(within):
        async with anyio.create_task_group() as tasks:
            for host, what in hosts.items():
                try:
                    found.setdefault(ip_address(host), what)
                except ValueError:
                    tasks.start_soon(_resolve, host, what, found)
    return found


async def _resolve(host: str, what: str, found: dict[IPAddress, str]) -> None:
    try:
        answers = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        _log.debug("%s, where %s is, has no address now: %s", host, what, words_of(error))
        return
    for *_, address in answers:
        found.setdefault(ip_address(str(address[0]).partition("%")[0]), what)
