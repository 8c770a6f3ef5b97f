"""The contract of a tunnel: the WireGuard device, its peers, and what else travels on its UDP port.

The agent says what it wants as one :class:`TunnelState`; the backend applies the difference. An endpoint of None means
"leave it to WireGuard": the device learns it from the peer's first handshake and follows it when the peer roams, and
applying a state never sets an endpoint back that WireGuard itself has learned since.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

import attrs

from meshloom.errors import TunnelError
from meshloom.model.keys import PresharedKey, PrivateKey, PublicKey

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface

Address = tuple[str, int]
"""An IP address as text without scope or brackets, and a UDP port."""


@attrs.frozen
class TunnelContext:
    """What a backend is opened with; gains fields, never loses them.

    Args:
        interface: Name of the WireGuard interface, at most 15 bytes.
        state_dir: A folder of the agent's own, for what must survive a crash.
        fwmark: Mark of what WireGuard and the shared port send, 0 for none: it keeps them out of the tunnel.
    """

    interface: str
    state_dir: Path
    fwmark: int = 0


@attrs.frozen
class TunnelCapabilities:
    """What this backend turned out to be on this host.

    Args:
        kernel: The device is the kernel's own.
        carries: It has ``Tunnel.carry``: peers can be reached through relays.
        rings: It has ``Tunnel.doorbell``: peers can sleep until there is traffic.
        ipv6_underlay: The shared port also sends and receives over IPv6.
    """

    kernel: bool
    ipv6_underlay: bool
    carries: bool = False
    rings: bool = False


@attrs.frozen
class TunnelPeer:
    """What we want of one WireGuard peer.

    Args:
        endpoint: Where to send to; None leaves it as WireGuard has it.
        allowed_ips: Prefixes that are routed to the peer and accepted from it.
        persistent_keepalive: None for off.
        mtu: Bytes of the largest packet for the peer's own addresses, where that is less than the interface's.
        session: Another number asks the device to forget its session with the peer, and to shake hands anew.
    """

    allowed_ips: frozenset[IPNetwork]
    endpoint: Address | None = None
    persistent_keepalive: timedelta | None = None
    preshared_key: PresharedKey | None = None
    session: int = 0
    mtu: int | None = None


@attrs.frozen
class TunnelState:
    """The whole device as it should be.

    Args:
        listen_port: WireGuard's UDP port; 0 picks a free one, which ``Tunnel.listen_port`` then tells.
        addresses: Overlay addresses of this host with their network's prefix length.
    """

    private_key: PrivateKey
    listen_port: int = 0
    addresses: tuple[IPInterface, ...] = ()
    mtu: int = 1280
    peers: Mapping[PublicKey, TunnelPeer] = attrs.field(factory=dict)


@attrs.frozen
class PeerStats:
    """What the device says of one peer.

    Args:
        latest_handshake: None where there has been none.
        rx_bytes: Received from the peer, as WireGuard counts.
        tx_bytes: Sent to the peer.
    """

    endpoint: Address | None = None
    latest_handshake: datetime | None = None
    rx_bytes: int = 0
    tx_bytes: int = 0


class SharedPort(ABC):
    """The datagrams on WireGuard's UDP port that are STUN (RFC 8489 section 5: magic cookie) and not WireGuard's."""

    @abstractmethod
    def send(self, data: bytes, destination: Address) -> None:
        """Send from WireGuard's port without waiting; what the network refuses is lost, as datagrams are."""

    @abstractmethod
    async def receive(self) -> tuple[bytes, Address]:
        """The next datagram and its source. One reader at a time; the oldest are dropped when nobody reads.

        Raises:
            TunnelError: The port is gone.
        """


class Carrier(ABC):
    """A path that the agent carries itself, such as through a relay; to WireGuard an endpoint like any other.

    Attributes:
        endpoint: What the peer's endpoint is to be set to for its packets to go this way.
    """

    endpoint: Address

    @abstractmethod
    def deliver(self, packet: bytes | bytearray | memoryview) -> None:
        """Hand WireGuard a packet of the peer, without waiting; what it has no room for is lost.

        WireGuard follows the source of what it receives: it sends this way from then on, until a packet of the peer
        comes from elsewhere or :meth:`Tunnel.set_endpoints` says otherwise.
        """

    @abstractmethod
    def close(self) -> None:
        """Carry no more; closing twice is no error."""


class Doorbell(ABC):
    """Endpoints for peers that have no path yet: the first packet that WireGuard has for one of them rings."""

    @abstractmethod
    def endpoint(self, number: int) -> Address:
        """What to set the endpoint of the peer to that the agent knows by this number, from 0 to 2**22 - 1."""

    @abstractmethod
    def close(self) -> None:
        """Ring no more; closing twice is no error."""


class Tunnel(ABC):
    """One WireGuard device, up from entering the backend until leaving it."""

    capabilities: TunnelCapabilities
    port: SharedPort

    @property
    @abstractmethod
    def listen_port(self) -> int:
        """WireGuard's UDP port as it is in use; 0 before the first ``apply``."""

    @abstractmethod
    async def apply(self, state: TunnelState) -> None:
        """Make the device match. Only the difference is sent to it; applying the same state twice changes nothing.

        Sessions with peers that stay survive, also when their endpoint changes.

        Raises:
            TunnelError: The device refuses (port taken, no permission, device gone); what was applied before stays.
        """

    @abstractmethod
    async def set_endpoints(self, endpoints: Mapping[PublicKey, Address]) -> None:
        """Send to these from now on, whatever WireGuard has learned since the state was applied.

        Peers that the last state does not have are left out.

        Raises:
            TunnelError: The device is gone.
        """

    @abstractmethod
    async def put_back(self, *, look_only: bool = False) -> tuple[str, ...]:
        """Makes the device again what was applied, where something else has changed it.

        Interface, addresses, routes, WireGuard's key, port and peers are compared with what is there now. Endpoints are
        left to WireGuard, and addresses and routes that others have added stay.

        Args:
            look_only: Whether the difference is only told.

        Returns:
            What was different, each in words such as ``it was down``; empty where nothing was, and before the first
            ``apply``.

        Raises:
            TunnelError: The device is gone, or a part cannot be put back: the message says what and why. All that can
                be put back is put back nevertheless.
        """

    def carry(self, send: Callable[[memoryview], object], prefix: bytes = b"") -> Carrier:  # noqa: ARG002 - whoever has it
        """A path that the agent carries itself, until it is closed or the tunnel is left.

        Args:
            send: Called with each packet that WireGuard sends this way, behind *prefix* in one piece of memory, which
                is used again when the call returns.
            prefix: What the agent puts in front of each packet.

        Raises:
            TunnelError: This device has no such paths, or can have no more.
        """
        raise TunnelError("this tunnel has no paths through relays")

    def doorbell(self, rung: Callable[[int, bytes], None]) -> Doorbell:  # noqa: ARG002 - whoever has it uses it
        """Endpoints for peers that have no path yet, until it is closed or the tunnel is left.

        Args:
            rung: Called with a peer's number and a copy of WireGuard's packet for it.

        Raises:
            TunnelError: This device has none.
        """
        raise TunnelError("this tunnel cannot wait for a first packet")

    @abstractmethod
    async def observed(self) -> Mapping[PublicKey, PeerStats]:
        """What the device says now of its peers.

        Raises:
            TunnelError: The device is gone.
        """

    @abstractmethod
    async def wait_lost(self) -> str:
        """Return only when the device has gone without being asked to (removed, its program died), saying why."""
