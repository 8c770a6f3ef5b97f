"""Tunnels in memory: WireGuard's peers, sessions, roaming and counters, without its cryptography and its timers.

They keep the contract of tunnels (:class:`meshloom.testing.contracts.tunnel.TunnelContract`). What is between them is a
:class:`MemoryNetwork`, which loses nothing and takes no time; tests look at ``MemoryTunnel.applied`` and at devices.
"""

import errno
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address

import anyio
import attrs

from meshloom.backend import Backend
from meshloom.errors import TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey
from meshloom.testing.fakes.tunnel_changes import changed_words
from meshloom.testing.tunnel_ground import Disturbance
from meshloom.tunnel import (
    Address,
    PeerStats,
    SharedPort,
    Tunnel,
    TunnelCapabilities,
    TunnelContext,
    TunnelPeer,
    TunnelState,
)

FIRST_PORT = 50000
COOKIE = bytes.fromhex("2112a442")
NOT_ALLOWED = "the interface %s may not be made: run as root"
OVERHEAD, HANDSHAKE = 32, 148
"""Bytes that WireGuard adds to a packet, and of a handshake's first message."""


@attrs.define
class MemoryPeer:
    """A peer as the device has it; the session is known by a number to both sides."""

    wanted: TunnelPeer
    endpoint: Address | None = None
    session: int = 0
    latest_handshake: datetime | None = None
    rx_bytes: int = 0
    tx_bytes: int = 0

    @property
    def preshared_key(self) -> PresharedKey | None:
        """As configured; all zeros are none, as in WireGuard."""
        key = self.wanted.preshared_key
        return key if key and any(key.raw) else None


@attrs.define(eq=False)
class MemoryDevice:
    """An interface; goes on when the agent is killed.

    Args:
        hosts: Its host's own addresses.
        changes: What something else has changed.
    """

    interface: str
    hosts: Sequence[str]
    state: TunnelState | None = None
    listen_port: int = 0
    peers: dict[PublicKey, MemoryPeer] = attrs.field(factory=dict)
    heard: deque[tuple[bytes, Address]] = attrs.field(factory=lambda: deque(maxlen=1024))
    news: anyio.Event = attrs.field(factory=anyio.Event)
    gone: anyio.Event = attrs.field(factory=anyio.Event)
    changes: list[Disturbance] = attrs.field(factory=list)

    def source(self, destination: Address) -> Address | None:
        """The address of its port that *destination* sees."""
        version = ip_address(destination[0]).version
        host = next((host for host in self.hosts if ip_address(host).version == version), None)
        return (host, self.listen_port) if host and self.listen_port and Disturbance.DOWN not in self.changes else None


class MemoryNetwork:
    """What is between tunnels, and whoever else has a UDP port.

    Attributes:
        devices: All interfaces of tunnels, by name.
        tunnels: Those that are open.
        opened: How often each was opened.
        foreign: Names of interfaces that somebody else has.
        taken: UDP ports that something else has, on every host.
        others: Who hears at an address that is no tunnel's.
        refusal: Says why a host refuses a state; empty where it takes it.
        is_allowed: Whether tunnels may be made.
        refuses_upkeep: Why nothing can be put back; empty where it can.

    Args:
        hosts: The addresses of the host that an interface is on; by default all are on one host.
        now: The time of handshakes.
    """

    def __init__(
        self,
        hosts: Callable[[str], Sequence[str]] = lambda _interface: ("127.0.0.1", "::1"),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.hosts, self._now = hosts, now
        self.devices: dict[str, MemoryDevice] = {}
        self.tunnels: dict[str, MemoryTunnel] = {}
        self.opened: dict[str, int] = {}
        self.foreign: set[str] = set()
        self.taken: set[int] = set()
        self.others: dict[Address, Callable[[bytes, Address], None]] = {}
        self.refusal: Callable[[TunnelState], str] = _no_refusal
        self.is_allowed, self.refuses_upkeep = True, ""
        self._sessions = itertools.count(1)

    @property
    def backend(self) -> Backend[TunnelContext, Tunnel]:
        """The backend ``memory``, whose tunnels are on this network."""
        return Backend("memory", MemoryOptions, self._open)

    def device_at(self, address: Address) -> MemoryDevice | None:
        """Whose WireGuard port that is."""
        for device in self.devices.values():
            if device.listen_port == address[1] and address[0] in device.hosts:
                return device
        return None

    def claim(self, device: MemoryDevice, port: int) -> int:
        """A port of the device's host: the one asked for, or a free one for 0.

        Raises:
            OSError: It is taken.
        """

        def is_taken(candidate: int) -> bool:
            return candidate in self.taken or any(
                (host, candidate) in self.others or self.device_at((host, candidate)) not in (None, device)
                for host in device.hosts
            )

        if port == 0:
            return next(candidate for candidate in itertools.count(FIRST_PORT) if not is_taken(candidate))
        if is_taken(port):
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return port

    def configure(self, interface: str, state: TunnelState) -> MemoryDevice:
        """Make the device match, as the contract says.

        Raises:
            TunnelError: The port is taken, or the host refuses the state.
        """
        if why := self.refusal(state):
            raise TunnelError(f"the interface {interface} cannot be configured: {why}")
        device = self.devices.setdefault(interface, MemoryDevice(interface, self.hosts(interface)))
        before = device.state
        if before is None or state.listen_port != before.listen_port:
            try:
                device.listen_port = self.claim(device, state.listen_port)
            except OSError as error:
                raise TunnelError(f"{interface}, UDP port {state.listen_port}: the UDP port is taken") from error
        if before is not None and before.private_key != state.private_key:
            for peer in device.peers.values():
                peer.session = 0
        device.state = state
        for key in device.peers.keys() - state.peers.keys():
            del device.peers[key]
        for key, wanted in state.peers.items():
            self._configure_peer(device, key, wanted)
        return device

    def disturb(self, interface: str, disturbance: Disturbance) -> None:
        """Something else changes the interface."""
        device = self.devices[interface]
        if disturbance is Disturbance.OTHER_PORT:
            device.listen_port = self.claim(MemoryDevice("", device.hosts), 0)
        elif disturbance is Disturbance.NO_PEERS:
            device.peers.clear()
        device.changes.append(disturbance)

    def differences(self, device: MemoryDevice, state: TunnelState, port: int) -> tuple[str, ...]:
        """Tells what was changed, in words."""
        return tuple(changed_words(each, device.listen_port, port, state) for each in device.changes)

    def put_back(self, device: MemoryDevice, state: TunnelState, port: int) -> tuple[str, ...]:
        """Puts back what was changed, and tells it in words.

        Raises:
            TunnelError: The port is taken, or the host refuses.
        """
        said = self.differences(device, state, port)
        if said and self.refuses_upkeep:
            raise TunnelError(f"the interface {device.interface} cannot be configured: {self.refuses_upkeep}")
        for key in state.peers.keys() - device.peers.keys():
            self._configure_peer(device, key, state.peers[key])
        device.changes.clear()
        if said and device.listen_port != port:
            try:
                device.listen_port = self.claim(device, port)
            except OSError as error:
                device.changes.append(Disturbance.OTHER_PORT)
                raise TunnelError(f"{device.interface}, UDP port {port}: the UDP port is taken") from error
        return said

    def remove(self, interface: str) -> None:
        """The interface is gone, for whoever has it."""
        device = self.devices.pop(interface, None)
        if device is not None:
            device.gone.set()

    def send(self, interface: str, destination: str, size: int) -> None:
        """A packet of *size* bytes is routed into the interface."""
        device = self.devices[interface]
        if device.changes:
            return
        address = ip_address(destination)
        routes = [
            (network.prefixlen, key)
            for key, peer in device.peers.items()
            for network in peer.wanted.allowed_ips
            if address.version == network.version and address in network
        ]
        if routes:
            self._send(device, max(routes, key=lambda route: route[0])[1], size)

    def datagram(self, data: bytes, source: Address, destination: Address) -> None:
        """Any datagram but WireGuard's: STUN comes up on the shared port, the rest is lost in WireGuard."""
        device = self.device_at(destination)
        if device is None:
            self.others.get(destination, _lost)(data, source)
        elif data[4:8] == COOKIE:
            device.heard.append((data, source))
            device.news.set()

    def _configure_peer(self, device: MemoryDevice, key: PublicKey, wanted: TunnelPeer) -> None:
        peer = device.peers.get(key)
        before = peer.wanted if peer else None
        if peer is None:
            peer = device.peers[key] = MemoryPeer(wanted)
        peer.wanted = wanted
        if wanted.endpoint is not None and (before is None or before.endpoint != wanted.endpoint):
            peer.endpoint = wanted.endpoint
        if wanted.persistent_keepalive and not (before and before.persistent_keepalive):
            self._send(device, key, 0)

    def _send(self, device: MemoryDevice, key: PublicKey, size: int) -> None:
        peer = device.peers[key]
        source = device.source(peer.endpoint) if peer.endpoint else None
        other = self.device_at(peer.endpoint) if peer.endpoint else None
        if device.state is None or source is None:
            return
        back = self._recognised(device, key, other)
        if back is None or not peer.session or peer.session != back.session:
            peer.tx_bytes += HANDSHAKE
            if back is None:
                return
            back.tx_bytes += HANDSHAKE
            if back.preshared_key != peer.preshared_key:
                return
            peer.session = back.session = next(self._sessions)
            peer.latest_handshake = back.latest_handshake = self._now()
            peer.rx_bytes += HANDSHAKE
            back.rx_bytes += HANDSHAKE
        peer.tx_bytes += size + OVERHEAD
        back.rx_bytes += size + OVERHEAD
        back.endpoint = source

    def _recognised(self, device: MemoryDevice, key: PublicKey, other: MemoryDevice | None) -> MemoryPeer | None:
        """The sender as the receiver has it, where they know each other."""
        if device.state is None or other is None or other.state is None or other.state.private_key.public != key:
            return None
        return other.peers.get(device.state.private_key.public)

    def _open(self, _options: "MemoryOptions", context: TunnelContext) -> AbstractAsyncContextManager[Tunnel]:
        return self._opened(context.interface)

    @asynccontextmanager
    async def _opened(self, interface: str) -> AsyncIterator[Tunnel]:
        if not self.is_allowed:
            raise TunnelError(NOT_ALLOWED % interface)
        if interface in self.tunnels or interface in self.foreign:
            owner = "another agent has" if interface in self.tunnels else "somebody else has"
            raise TunnelError(f"{owner} the interface {interface}: choose another with --interface-name")
        self.devices.setdefault(interface, MemoryDevice(interface, self.hosts(interface)))
        self.opened[interface] = self.opened.get(interface, 0) + 1
        tunnel = self.tunnels[interface] = MemoryTunnel(self, self.devices[interface])
        try:
            yield tunnel
        finally:
            del self.tunnels[interface]
            tunnel.port.close()
            if self.devices.get(interface) is tunnel.device:
                del self.devices[interface]


@attrs.frozen
class MemoryOptions:
    """There is nothing to choose."""


class MemoryPort(SharedPort):
    """STUN beside a device in memory."""

    def __init__(self, network: MemoryNetwork, device: MemoryDevice) -> None:
        self._network, self._device = network, device
        self._is_closed = False

    def send(self, data: bytes, destination: Address) -> None:
        """It is there at once."""
        source = self._device.source(destination)
        if source is not None and not self._is_closed:
            self._network.datagram(data, source, destination)

    async def receive(self) -> tuple[bytes, Address]:
        """The next one."""
        while not self._device.heard:
            if self._is_closed:
                raise TunnelError("the shared port is closed")
            self._device.news = anyio.Event()
            await self._device.news.wait()
        return self._device.heard.popleft()

    def close(self) -> None:
        """Wake the reader, for the last time."""
        self._is_closed = True
        self._device.news.set()


class MemoryTunnel(Tunnel):
    """Keeps the states that it was told in ``applied``, the newest last."""

    port: MemoryPort

    def __init__(self, network: MemoryNetwork, device: MemoryDevice) -> None:
        self.capabilities = TunnelCapabilities(kernel=False, ipv6_underlay=any(":" in host for host in device.hosts))
        self.device = device
        self.port = MemoryPort(network, device)
        self.applied: list[TunnelState] = []
        self.port_in_use = 0
        self._network = network

    @property
    def listen_port(self) -> int:
        """The device's; 0 before the first ``apply``."""
        return self.port_in_use

    @property
    def state(self) -> TunnelState:
        """What was applied last; a blank state before that."""
        return self.applied[-1] if self.applied else TunnelState(PrivateKey.of(bytes(32)))

    async def apply(self, state: TunnelState) -> None:
        """Make the device match."""
        self._check()
        self._network.configure(self.device.interface, state)
        self.applied.append(state)
        self.port_in_use = self.device.listen_port

    async def put_back(self, *, look_only: bool = False) -> tuple[str, ...]:
        """As the contract says."""
        self._check()
        if look_only:
            return self._network.differences(self.device, self.state, self.port_in_use)
        return self._network.put_back(self.device, self.state, self.port_in_use)

    async def set_endpoints(self, endpoints: Mapping[PublicKey, Address]) -> None:
        """As the contract says."""
        for key, endpoint in endpoints.items():
            if (peer := self.device.peers.get(key)) is not None:
                peer.endpoint = endpoint

    async def observed(self) -> Mapping[PublicKey, PeerStats]:
        """What the device says of its peers."""
        self._check()
        return {
            key: PeerStats(peer.endpoint, peer.latest_handshake, peer.rx_bytes, peer.tx_bytes)
            for key, peer in self.device.peers.items()
        }

    async def wait_lost(self) -> str:
        """Return when the network has removed the device."""
        await self.device.gone.wait()
        return "the device is gone"

    def _check(self) -> None:
        if self.device.gone.is_set():
            raise TunnelError(f"the interface {self.device.interface} is gone")


def _no_refusal(state: TunnelState) -> str:
    """Refuses what Linux refuses: a group is not a host's own address."""
    return next((f"{each} is a group" for each in state.addresses if each.version == 6 and each.ip.is_multicast), "")


def _lost(_data: bytes, _source: Address) -> None:
    """Nobody has the port."""
