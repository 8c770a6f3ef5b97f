"""Has the router hand WireGuard's port on to here while the agent is up: by PCP, else NAT-PMP, else UPnP.

Leases are short, renewed at half of their time, and given back at the end.
"""

import logging
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio

from meshloom.errors import ProtocolError
from meshloom.protocol import port_mapping as wire
from meshloom.protocol.port_mapping import Lease, MappingRefused
from meshloom.protocol.stun import Address
from meshloom_linux.gateway import default_gateway

_log = logging.getLogger(__name__)

LEASE = 7200
"""Seconds that are asked for."""
ASK_AGAIN = 600.0
"""Seconds until a router that opened nothing is asked again."""
SHORTEST_RENEWAL = 10.0
REPETITIONS = (0.25, 0.5, 1.0, 2.0)
"""Seconds between requests, as RFC 6886 section 3.1 has them; PCP's own (RFC 6887 section 8.1.1) are longer."""
DISCOVERY_WITHIN = 3.0
UPNP_WITHIN = 10.0
END_WITHIN = 2.0
UPNP_SERVICES = ("urn:schemas-upnp-org:service:WANIPConnection:", "urn:schemas-upnp-org:service:WANPPPConnection:")
UPNP_CONFLICT = 718
"""ConflictInMappingEntry (WANIPConnection:1 section 2.4.16)."""
DESCRIPTION = "Meshloom"
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
        return await _asked(self.router, request, lambda data: wire.pcp_lease(data, self._nonce, self.port))


class NatPmp(Protocol):
    """RFC 6886."""

    name = "NAT-PMP"

    async def map(self, outer: Address, seconds: int) -> Lease:
        """By two requests: NAT-PMP tells the outer address apart."""
        request = wire.nat_pmp_map_request(self.port, outer[1] or self.port, seconds)
        lease = await _asked(self.router, request, lambda data: wire.nat_pmp_lease(data, self.port))
        if not seconds:
            return lease
        address = await _asked(self.router, wire.NAT_PMP_REQUEST, wire.nat_pmp_outer)
        return Lease((address, lease.outer[1]), lease.seconds)


class UPnP(Protocol):
    """UPnP IGD 1 and 2, by async-upnp-client where that is installed."""

    name = "UPnP"

    async def map(self, outer: Address, seconds: int) -> Lease:
        """By the gateway's service of connections."""
        try:
            from async_upnp_client.exceptions import UpnpError
        except ImportError:
            raise MappingRefused("async-upnp-client is not installed") from None
        try:
            with anyio.fail_after(UPNP_WITHIN):
                service = await self._service()
                if not seconds:
                    await service.action("DeletePortMapping").async_call(**_same(outer[1]))
                    return Lease(outer, 0)
                told = await service.action("GetExternalIPAddress").async_call()
                address = wire.checked_outer(str(told.get("NewExternalIPAddress", "")))
                return Lease((address, await self._add(service, outer[1], seconds)), seconds)
        except UpnpError as error:
            raise MappingRefused(f"{error}") from error

    async def _add(self, service: Any, port: int, seconds: int) -> int:
        """The outer port; where another machine has ours, one by chance, since UPnP finds no free one itself."""
        from async_upnp_client.exceptions import UpnpActionError

        ports = [port] if port else [self.port, *(1024 + int.from_bytes(os.urandom(2)) % 64512 for _ in range(2))]
        while True:
            try:
                await service.action("AddPortMapping").async_call(
                    **_same(ports[0]),
                    NewInternalPort=self.port,
                    NewInternalClient=self.own,
                    NewEnabled=True,
                    NewPortMappingDescription=DESCRIPTION,
                    NewLeaseDuration=seconds,
                )
            except UpnpActionError as error:
                if error.error_code != UPNP_CONFLICT or len(ports) == 1:
                    raise
                del ports[0]
                continue
            return ports[0]

    async def _service(self) -> Any:
        from async_upnp_client.aiohttp import AiohttpRequester
        from async_upnp_client.client_factory import UpnpFactory

        url = await _asked(
            self.router, wire.SSDP_REQUEST, lambda data: wire.description_url(data, self.router), to=wire.SSDP
        )
        device = await UpnpFactory(AiohttpRequester(), non_strict=True).async_create_device(url)
        for kind in UPNP_SERVICES:
            for service in device.all_services:
                where = urlsplit(service.control_url)
                if service.service_type.startswith(kind) and where.hostname == self.router:
                    return service
        raise MappingRefused("it has no service that maps ports")


def _same(port: int) -> dict[str, Any]:
    return {"NewRemoteHost": "", "NewExternalPort": port, "NewProtocol": "UDP"}


PROTOCOLS: tuple[type[Protocol], ...] = (PCP, NatPmp, UPnP)


class PortMapper:
    """Keeps the port mapped. Run :meth:`run`, and tell it the port by :meth:`follow`.

    Args:
        changed: Called when ``mapped`` has changed.
        gateway: Finds the router's address, None where there is none.
    """

    def __init__(self, changed: Callable[[], None], gateway: Callable[[], str | None] | None = None) -> None:
        self.mapped: Mapping[Address, Address] = {}
        """The outer port, and what it is handed on to."""
        self.protocol = ""
        """By which it is."""
        self._changed, self._gateway = changed, gateway or _default_gateway
        self._port = 0
        self._news = anyio.Event()

    def follow(self, port: int) -> None:
        """WireGuard's port, as it is now."""
        if port != self._port:
            self._port = port
            self.renew()

    def renew(self) -> None:
        """The network may be another one."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled; what was mapped is given back then."""
        while True:
            self._news = anyio.Event()
            found = await self._first() if self._port else None
            if found is None:
                with anyio.move_on_after(ASK_AGAIN):
                    await self._news.wait()
                continue
            protocol, lease = found
            try:
                await self._keep(protocol, lease)
            finally:
                self._set("", {})
                with anyio.move_on_after(END_WITHIN, shield=True):
                    await self._give_back(protocol, lease)

    async def _first(self) -> tuple[Protocol, Lease] | None:
        """By the first protocol that the router speaks."""
        router = self._gateway()
        own = _source(router) if router else ""
        if not router or not own:
            return None
        for kind in PROTOCOLS:
            protocol = kind(router, own, self._port)
            try:
                lease = await protocol.map(("", 0), LEASE)
            except (ProtocolError, OSError, TimeoutError) as error:
                _log.debug("the router opens no port by %s: %s", kind.name, str(error) or "no answer")
                continue
            _log.info("the router hands a port on to us, by %s for %d s", kind.name, lease.seconds)
            return protocol, lease
        return None

    async def _keep(self, protocol: Protocol, lease: Lease) -> None:
        """Renew it, until the router will not, or the network has changed."""
        while lease.seconds:
            self._set(protocol.name, {lease.outer: (protocol.own, protocol.port)})
            with anyio.move_on_after(max(lease.seconds / 2, SHORTEST_RENEWAL)):
                await self._news.wait()
                if self._port != protocol.port or self._gateway() != protocol.router:
                    return
                if _source(protocol.router) != protocol.own:
                    return
                self._news = anyio.Event()
            try:
                lease = await protocol.map(lease.outer, LEASE)
            except (ProtocolError, OSError, TimeoutError) as error:
                _log.info("the router does not renew our port: %s", str(error) or "no answer")
                return

    async def _give_back(self, protocol: Protocol, lease: Lease) -> None:
        try:
            await protocol.map(lease.outer, 0)
        except (ProtocolError, OSError, TimeoutError) as error:
            _log.debug("the router keeps our port until its lease ends: %s", str(error) or "no answer")

    def _set(self, protocol: str, mapped: Mapping[Address, Address]) -> None:
        self.protocol = protocol
        if mapped != self.mapped:
            self.mapped = mapped
            self._changed()


async def _asked(router: str, request: bytes, read: Callable[[bytes], Answer], to: Address | None = None) -> Answer:
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


def _default_gateway() -> str | None:
    try:
        return default_gateway(Path("/proc/net/route").read_text().splitlines())
    except OSError:
        return None


def _source(router: str) -> str:
    """Our address towards the router; empty where there is no way. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((router, wire.PORT))
            return str(probe.getsockname()[0])
        except OSError:
            return ""
