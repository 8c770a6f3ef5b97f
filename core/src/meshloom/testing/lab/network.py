"""Networks: what is attached to one reaches what else is attached to it, with delay and loss."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from random import Random
from typing import Protocol

import attrs

from meshloom.protocol.stun import Address
from meshloom.testing.lab.clock import VirtualClock

IPNetwork = IPv4Network | IPv6Network

parsed = lru_cache(4096)(ip_address)
"""``ipaddress.ip_address`` for the few addresses of a laboratory, which come again and again."""


class Node(Protocol):
    """What can be attached to a network."""

    def receive(self, datagram: "Datagram", network: "Network") -> None:
        """A datagram for it, or to be passed on by it."""


class Gateway(Node, Protocol):
    """What passes on whatever is not for the network itself."""

    @property
    def ipv4(self) -> str | None:
        """Its address outside, where it translates."""

    @property
    def outside(self) -> "Network":
        """Where it passes things on to."""


@attrs.frozen(eq=False)
class Datagram:
    """A UDP datagram on its way.

    Args:
        origin: The host that sent it, whatever routers have made of its source since.
        hops: Routers that it may still pass.
    """

    source: Address
    destination: Address
    data: bytes
    origin: Node
    hops: int = 16

    def passed_on(self, source: Address, destination: Address) -> "Datagram":
        """As a router sends it on."""
        return Datagram(source, destination, self.data, self.origin, self.hops - 1)


@attrs.frozen
class Conditions:
    """How a network treats each datagram.

    Args:
        delay: Seconds from one node to another.
        jitter: Up to so many seconds more, at random: datagrams overtake one another.
        loss: Share of datagrams that are lost.
        duplication: Share of datagrams that arrive twice.
        largest: Bytes of the longest payload that arrives; a longer one is lost without a word.
    """

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    largest: int = 65_507


class Network:
    """A link or a whole internet.

    Args:
        ipv4: Where its nodes' addresses come from; None for none.
        ipv6: The same.
    """

    def __init__(
        self,
        clock: VirtualClock,
        random: Random,
        name: str,
        *,
        ipv4: IPv4Network | None,
        ipv6: IPv6Network | None,
        conditions: Conditions | None = None,
    ) -> None:
        self.name, self.ipv4, self.ipv6 = name, ipv4, ipv6
        self.conditions = conditions or Conditions(delay=0.001)
        self.gateway: Gateway | None = None
        self._clock, self._random = clock, random
        self._nodes: dict[str, Node] = {}
        self._routes: list[tuple[IPNetwork, Node]] = []
        self._taken = {4: 0, 6: 0}
        self._parted: list[frozenset[str]] = []
        self._one_way: set[tuple[str, str]] = set()

    # -- who is there ------------------------------------------------------------------------------------------

    def new_address(self, family: int) -> str | None:
        """The next free one; None where the network has none of that family (4 or 6). None is given twice."""
        network = self.ipv4 if family == 4 else self.ipv6
        if network is None:
            return None
        self._taken[family] += 1
        return str(network.network_address + self._taken[family])

    def attach(self, node: Node, address: str) -> None:
        """From now on *node* gets what is sent to *address*."""
        self._nodes[address] = node

    def detach(self, address: str) -> None:
        """What is sent to *address* is lost from now on."""
        self._nodes.pop(address, None)

    def add_route(self, network: IPNetwork, node: Node) -> None:
        """*node* passes on what is for *network*."""
        self._routes.append((network, node))

    def part(self, *sides: Iterable[str]) -> None:
        """Nothing passes between nodes of two *sides* (addresses of each); no sides heal it."""
        self._parted = [frozenset(side) for side in sides]

    def lose(self, *ways: tuple[str, str]) -> None:
        """Datagrams from the first to the second address of each of *ways* are lost; none heals it."""
        self._one_way = set(ways)

    def has(self, address: str) -> bool:
        """Whether a node is attached under that address."""
        return address in self._nodes

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether anything at all gets from one node to another."""
        return self.conditions.loss < 1 and not self._is_parted(sender, receiver)

    # -- what passes -------------------------------------------------------------------------------------------

    def send(self, datagram: Datagram, sender: Node, sender_address: str) -> None:
        """From a node that is attached under *sender_address*."""
        host = datagram.destination[0]
        receiver = self._nodes.get(host) or self._route(host)
        if receiver is None or receiver is sender or self._is_parted(sender_address, host):
            return
        conditions = self.conditions
        if len(datagram.data) > conditions.largest or (sender_address, host) in self._one_way:
            return
        if conditions.loss and self._random.random() < conditions.loss:
            return
        copies = 1 + bool(conditions.duplication and self._random.random() < conditions.duplication)
        for _ in range(copies):
            delay = conditions.delay + (conditions.jitter * self._random.random() if conditions.jitter else 0.0)
            self._clock.call_in(delay, lambda: self._arrive(datagram, receiver))

    def _arrive(self, datagram: Datagram, receiver: Node) -> None:
        host = datagram.destination[0]
        if (self._nodes.get(host) or self._route(host)) is receiver:  # it has not left meanwhile
            receiver.receive(datagram, self)

    def _route(self, host: str) -> Node | None:
        if not self._routes:
            return self.gateway
        address = parsed(host)
        for network, node in self._routes:
            if address.version == network.version and address in network:
                return node
        return self.gateway

    def _is_parted(self, sender: str, receiver: str) -> bool:
        if not self._parted:
            return False
        sides = [side for side in self._parted if sender in side or receiver in side]
        return len(sides) > 1
