"""Hosts: addresses on networks, and UDP ports."""

from collections.abc import Callable

import attrs

from meshloom.protocol.stun import Address
from meshloom.testing.lab.network import Datagram, Network, parsed

Receive = Callable[[bytes, Address], None]


@attrs.frozen(eq=False)
class Attachment:
    """A host's place on a network."""

    network: Network
    address: str


class UdpPort:
    """A port bound to all of a host's addresses; its source is what the host's routes say."""

    def __init__(self, host: "Host", number: int, receive: Receive) -> None:
        self.number = number
        self.receive = receive
        self._host = host

    def send(self, data: bytes, destination: Address) -> None:
        """One datagram; lost without a word where there is no way."""
        self._host.send(self.number, data, destination)

    def close(self) -> None:
        """No more datagrams."""
        self._host.ports.pop(self.number, None)


class Host:
    """A machine; its default way is over the first network that it was put on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ports: dict[int, UdpPort] = {}
        self.attachments: list[Attachment] = []
        self.sent = 0
        """How many datagrams have left it."""
        self.observe: Callable[[Datagram], None] | None = None
        """Called with each datagram that leaves it."""

    @property
    def addresses(self) -> list[str]:
        """All, the default way's first."""
        return [each.address for each in self.attachments]

    @property
    def ipv4(self) -> str:
        """Its first IPv4 address."""
        return next(address for address in self.addresses if ":" not in address)

    @property
    def ipv6(self) -> str:
        """Its first IPv6 address."""
        return next(address for address in self.addresses if ":" in address)

    def join(self, network: Network) -> "Host":
        """Get addresses on a network."""
        for family in (4, 6):
            if (address := network.new_address(family)) is not None:
                network.attach(self, address)
                self.attachments.append(Attachment(network, address))
        return self

    def leave(self) -> "Host":
        """Lose all addresses."""
        for each in self.attachments:
            each.network.detach(each.address)
        self.attachments = []
        return self

    def reaches(self, address: str) -> bool:
        """Whether a TCP connection to a public address stands: routers let it out, also where they block UDP."""
        way = self._way(address)
        if way is None:
            return False
        network, sender = way.network, way.address
        while not network.has(address):
            if network.gateway is None:
                return False
            sender, network = network.gateway.ipv4 or sender, network.gateway.outside
        return network.passes(sender, address)

    def bind(self, number: int, receive: Receive) -> UdpPort:
        """Open a port."""
        if number in self.ports:
            raise OSError(f"port {number} of {self.name} is taken")
        self.ports[number] = UdpPort(self, number, receive)
        return self.ports[number]

    def send(self, port: int, data: bytes, destination: Address) -> None:
        """One datagram from a port of its own."""
        way = self._way(destination[0])
        if way is None:
            return
        self.sent += 1
        datagram = Datagram((way.address, port), destination, data, self)
        if self.observe is not None:
            self.observe(datagram)
        way.network.send(datagram, self, way.address)

    def receive(self, datagram: Datagram, network: Network) -> None:  # noqa: ARG002 - all its networks are one to a port
        """A datagram for one of its ports."""
        port = self.ports.get(datagram.destination[1])
        if port is not None:
            port.receive(datagram.data, datagram.source)

    def _way(self, host: str) -> Attachment | None:
        address = parsed(host)
        same_family = [each for each in self.attachments if (":" in each.address) == (address.version == 6)]
        for each in same_family:
            local = each.network.ipv4 if address.version == 4 else each.network.ipv6
            if local is not None and address in local:
                return each
        return same_family[0] if same_family else None
