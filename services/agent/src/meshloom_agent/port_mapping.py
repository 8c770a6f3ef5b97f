"""Has the router hand WireGuard's port on to here while the agent is up: by PCP, else NAT-PMP, else UPnP.

Leases are short, renewed at half of their time, and given back at the end.
"""

import importlib
import importlib.util
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import anyio

from meshloom.errors import ProtocolError, words_of
from meshloom.protocol import port_mapping as wire
from meshloom.protocol.port_mapping import Lease
from meshloom.protocol.stun import Address
from meshloom_agent.port_protocols import PCP, NatPmp, Protocol
from meshloom_linux.gateway import default_gateway

_log = logging.getLogger(__name__)

LEASE = 7200
"""Seconds that are asked for."""
ASK_AGAIN = 600.0
"""Seconds until a router that opened nothing is asked again."""
SHORTEST_RENEWAL = 10.0
END_WITHIN = 2.0


def known_protocols() -> Iterator[type[Protocol]]:
    """In the order to try them; UPnP, whose library is large, is loaded only when it is reached."""
    yield PCP
    yield NatPmp
    if importlib.util.find_spec("async_upnp_client") is not None:
        yield importlib.import_module("meshloom_agent.upnp").UPnP


class PortMapper:
    """Keeps the port mapped. Run :meth:`run`, and tell it the port by :meth:`follow`.

    Args:
        changed: Called when ``mapped`` has changed.
        gateway: Finds the router's address, None where there is none.
        protocols: Those to try, in order.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        gateway: Callable[[], str | None] | None = None,
        protocols: Callable[[], Iterable[type[Protocol]]] | None = None,
    ) -> None:
        self.mapped: Mapping[Address, Address] = {}
        """The outer port, and what it is handed on to."""
        self.protocol = ""
        """By which it is."""
        self._changed, self._gateway = changed, gateway or _default_gateway
        self._protocols = protocols or known_protocols
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
        for kind in self._protocols():
            protocol = kind(router, own, self._port)
            try:
                lease = await protocol.map(("", 0), LEASE)
            except (ProtocolError, OSError, TimeoutError) as error:
                _log.debug("the router opens no port by %s: %s", kind.name, words_of(error))
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
                _log.info("the router does not renew our port: %s", words_of(error))
                return

    async def _give_back(self, protocol: Protocol, lease: Lease) -> None:
        try:
            await protocol.map(lease.outer, 0)
        except (ProtocolError, OSError, TimeoutError) as error:
            _log.debug("the router keeps our port until its lease ends: %s", words_of(error))

    def _set(self, protocol: str, mapped: Mapping[Address, Address]) -> None:
        self.protocol = protocol
        if mapped != self.mapped:
            self.mapped = mapped
            self._changed()


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
