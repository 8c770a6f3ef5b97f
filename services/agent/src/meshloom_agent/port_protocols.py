"""Ways to ask a router for a port: PCP and NAT-PMP; UPnP is in :mod:`meshloom_agent.upnp`."""

import logging
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import anyio

from meshloom.errors import ProtocolError
from meshloom.protocol import port_mapping as wire
from meshloom.protocol.port_mapping import Lease, MappingRefused
from meshloom.protocol.stun import Address

_log = logging.getLogger(__name__)

REPETITIONS = (0.25, 0.5, 1.0, 2.0)
"""Seconds between requests, as RFC 6886 section 3.1 has them; PCP's own (RFC 6887 section 8.1.1) are longer."""
Answer = TypeVar("Answer")


class Protocol(ABC):
    """One way to ask one router for one port.

    Args:
        router: Its address.
        own: Ours towards it.
    """

    name = ""

    def __init__(self, router: str, own: str, port: int) -> None:
        self.router, self.own, self.port = router, own, port

    @abstractmethod
    async def map(self, outer: Address, seconds: int) -> Lease:
        """A lease, or its renewal where *outer* is what we have; 0 seconds give it back.

        Raises:
            MappingRefused, ProtocolError, OSError, TimeoutError: There is none.
        """


class PCP(Protocol):
    """RFC 6887."""

    name = "PCP"

    def __init__(self, router: str, own: str, port: int) -> None:
        super().__init__(router, own, port)
        self._nonce = os.urandom(wire.NONCE)

    async def map(self, outer: Address, seconds: int) -> Lease:
        """By one MAP request."""
        wish = outer if outer[1] else ("", self.port)
        request = wire.pcp_map_request(self.own, self._nonce, self.port, wish, seconds)
        return await asked(self.router, request, lambda data: wire.pcp_lease(data, self._nonce, self.port))


class NatPmp(Protocol):
    """RFC 6886."""

    name = "NAT-PMP"

    async def map(self, outer: Address, seconds: int) -> Lease:
        """By two requests: NAT-PMP tells the outer address apart."""
        request = wire.nat_pmp_map_request(self.port, outer[1] or self.port, seconds)
        lease = await asked(self.router, request, lambda data: wire.nat_pmp_lease(data, self.port))
        if not seconds:
            return lease
        address = await asked(self.router, wire.NAT_PMP_REQUEST, wire.nat_pmp_outer)
        return Lease((address, lease.outer[1]), lease.seconds)


async def asked(router: str, request: bytes, read: Callable[[bytes], Answer], to: Address | None = None) -> Answer:
    """What the router answers; repeated until it does."""
    async with await anyio.create_udp_socket(family=socket.AF_INET) as asking:
        for wait in REPETITIONS:
            await asking.sendto(request, *(to or (router, wire.PORT)))
            with anyio.move_on_after(wait):
                async for data, source in asking:
                    if source[0] != router:
                        continue
                    try:
                        return read(data)
                    except MappingRefused:
                        raise
                    except ProtocolError as error:
                        _log.debug("an answer of the router is not read: %s", error)
    raise TimeoutError
