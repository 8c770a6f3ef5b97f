"""The host on which tunnels in memory keep their contract."""

import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio

from meshloom.backend import Backend
from meshloom.errors import TunnelError
from meshloom.testing.fakes.tunnel import MemoryDevice, MemoryNetwork
from meshloom.testing.tunnel_ground import OTHER_MTU, Disturbance, LinkFacts, Outsider, TunnelGround
from meshloom.tunnel import Address, Tunnel, TunnelContext, TunnelState

FIRST_PORT = 40000


class MemoryGround(TunnelGround):
    """A network in memory with one host."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self._ports = itertools.count(FIRST_PORT)

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """There is nothing to enter."""
        yield

    def link(self, interface: str) -> LinkFacts | None:
        """The device in memory."""
        device = self.network.devices.get(interface)
        if device is None:
            return LinkFacts(False, 1500, frozenset()) if interface in self.network.foreign else None
        if device.state is None:
            return LinkFacts(False, 1420, frozenset())
        is_up = Disturbance.DOWN not in device.changes
        has_addresses = Disturbance.NO_ADDRESSES not in device.changes
        mtu = OTHER_MTU if Disturbance.OTHER_MTU in device.changes else device.state.mtu
        addresses = device.state.addresses if has_addresses else ()
        has_routes = Disturbance.NO_ROUTES not in device.changes
        routes = frozenset(each.network for each in addresses if has_routes)
        return LinkFacts(is_up, mtu, frozenset(addresses), routes)

    def remove(self, interface: str) -> None:
        """From the network."""
        self.network.remove(interface)

    def add_foreign(self, interface: str) -> None:
        """A name that is taken."""
        self.network.foreign.add(interface)

    def send(self, interface: str, destination: str, size: int) -> None:
        """Through the network."""
        self.network.send(interface, destination, size)

    def disturb(self, interface: str, disturbance: Disturbance) -> None:
        """On the network."""
        self.network.disturb(interface, disturbance)

    @contextlib.contextmanager
    def outsider(self, host: str, port: int = 0) -> Iterator[Outsider]:
        """Somebody on the network."""
        somebody = MemoryDevice("", (host,))
        address = (host, self.network.claim(somebody, port or next(self._ports)))
        made = _Outsider(self.network, address)
        self.network.others[address] = made.hear
        try:
            yield made
        finally:
            del self.network.others[address]

    def leave_behind(
        self, _backend: Backend[TunnelContext, Tunnel], _options: Any, context: TunnelContext, state: TunnelState
    ) -> None:
        """A device that nobody has."""
        self.network.configure(context.interface, state)

    def refusal(
        self, backend: Backend[TunnelContext, Tunnel], options: Any, context: TunnelContext, state: TunnelState
    ) -> str:
        """That of an own loop, as the suite's is at work."""

        async def open_() -> str:
            try:
                async with backend.open(options, context) as tunnel:
                    await tunnel.apply(state)
            except TunnelError as error:
                return str(error)
            return ""

        self.network.is_allowed = False
        try:
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(anyio.run, open_).result()
        finally:
            self.network.is_allowed = True


class _Outsider(Outsider):
    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self.address = address
        self._network = network
        self._heard: list[tuple[bytes, Address]] = []

    def hear(self, data: bytes, source: Address) -> None:
        self._heard.append((data, source))

    def send(self, data: bytes, destination: Address) -> None:
        self._network.datagram(data, self.address, destination)

    def received(self) -> list[tuple[bytes, Address]]:
        found, self._heard = self._heard, []
        return found
