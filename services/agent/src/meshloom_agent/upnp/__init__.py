"""A port of the router by UPnP; needs the extra of that name."""

import os
from typing import Any
from urllib.parse import urlsplit

import anyio
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError, UpnpError

from meshloom.protocol import port_mapping as wire
from meshloom.protocol.port_mapping import Lease, MappingRefused
from meshloom.protocol.stun import Address
from meshloom_agent.port_protocols import Protocol, asked

WITHIN = 10.0
SERVICES = ("urn:schemas-upnp-org:service:WANIPConnection:", "urn:schemas-upnp-org:service:WANPPPConnection:")
CONFLICT = 718
"""ConflictInMappingEntry (WANIPConnection:1 section 2.4.16)."""
DESCRIPTION = "Meshloom"


class UPnP(Protocol):
    """UPnP IGD 1 and 2."""

    name = "UPnP"

    async def map(self, outer: Address, seconds: int) -> Lease:
        """By the gateway's service of connections."""
        try:
            with anyio.fail_after(WITHIN):
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
                if error.error_code != CONFLICT or len(ports) == 1:
                    raise
                del ports[0]
                continue
            return ports[0]

    async def _service(self) -> Any:
        url = await asked(
            self.router, wire.SSDP_REQUEST, lambda data: wire.description_url(data, self.router), to=wire.SSDP
        )
        device = await UpnpFactory(AiohttpRequester(), non_strict=True).async_create_device(url)
        for kind in SERVICES:
            for service in device.all_services:
                where = urlsplit(service.control_url)
                if service.service_type.startswith(kind) and where.hostname == self.router:
                    return service
        raise MappingRefused("it has no service that maps ports")


def _same(port: int) -> dict[str, Any]:
    return {"NewRemoteHost": "", "NewExternalPort": port, "NewProtocol": "UDP"}
