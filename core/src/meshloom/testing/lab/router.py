"""A router between an inner and an outer network, which translates and filters as its :class:`Nat` says."""

from random import Random

import attrs

from meshloom.protocol.stun import Address
from meshloom.testing.lab.clock import VirtualClock
from meshloom.testing.lab.nat import Filtering, Mapping, Nat
from meshloom.testing.lab.network import Datagram, Network

FIRST_PORT = 1024


@attrs.define(eq=False)
class _Mapping:
    """An outer port of an inner address."""

    inside: Address
    key: tuple[str | int, ...]
    port: int
    used: float


class Router:
    """Passes datagrams on; forgets everything at ``restart``."""

    def __init__(self, clock: VirtualClock, random: Random, nat: Nat, inside: Network, outside: Network) -> None:
        self.nat, self.inside, self.outside = nat, inside, outside
        self._clock, self._random = clock, random
        self._mappings: dict[tuple[Address, tuple[str | int, ...]], _Mapping] = {}
        self._by_port: dict[int, _Mapping] = {}
        self._allowed: dict[tuple[Address, tuple[str | int, ...]], float] = {}
        self._spent: set[int] = set()
        self.ipv4 = outside.new_address(4) if inside.ipv4 is not None and nat.translates else None
        if self.ipv4 is not None:
            outside.attach(self, self.ipv4)
        elif inside.ipv4 is not None:
            outside.add_route(inside.ipv4, self)
        if inside.ipv6 is not None:
            outside.add_route(inside.ipv6, self)
        inside.gateway = self

    def restart(self) -> None:
        """Forget all mappings; ports are not given out a second time."""
        self._mappings.clear()
        self._by_port.clear()
        self._allowed.clear()

    def receive(self, datagram: Datagram, network: Network) -> None:
        """Pass a datagram on, or not."""
        if self.nat.blocks_udp or not datagram.hops:
            return
        if network is self.inside:
            self._pass_out(datagram)
        else:
            self._pass_in(datagram)

    def inside_of(self, port: int) -> Address | None:
        """The inner address that is behind an outer port now; None where there is no mapping."""
        mapping = self._by_port.get(port)
        return mapping.inside if mapping is not None and self._is_alive(mapping.used) else None

    # -- out ---------------------------------------------------------------------------------------------------

    def _pass_out(self, datagram: Datagram) -> None:
        source, destination = datagram.source, datagram.destination
        self._allowed[source, _key(self.nat.filtering, destination)] = self._clock.now
        if not self._translates(destination):
            self.outside.send(datagram.passed_on(source, destination), self, source[0])
            return
        if self.ipv4 is None:
            return
        mapping = self._mapping(source, destination)
        translated = datagram.passed_on((self.ipv4, mapping.port), destination)
        if destination[0] != self.ipv4:
            self.outside.send(translated, self, self.ipv4)
        elif self.nat.hairpin:
            self._pass_in(translated)

    def _mapping(self, source: Address, destination: Address) -> _Mapping:
        key = _key(self.nat.mapping, destination)
        mapping = self._mappings.get((source, key))
        if mapping is None or not self._is_alive(mapping.used):
            port = self._new_port(source[1])
            mapping = self._mappings[source, key] = self._by_port[port] = _Mapping(source, key, port, 0.0)
        mapping.used = self._clock.now
        return mapping

    def _new_port(self, wanted: int) -> int:
        port = wanted
        while port in self._spent or (port == wanted and not self.nat.preserves_port):
            port = self._random.randrange(FIRST_PORT, 1 << 16)
        self._spent.add(port)
        return port

    # -- in ----------------------------------------------------------------------------------------------------

    def _pass_in(self, datagram: Datagram) -> None:
        outside = datagram.destination
        inside = self.inside_of(outside[1]) if self._translates(outside) else outside
        if inside is not None and self._is_let_in(inside, datagram.source):
            self.inside.send(datagram.passed_on(datagram.source, inside), self, "")

    def _is_let_in(self, inside: Address, source: Address) -> bool:
        used = self._allowed.get((inside, _key(self.nat.filtering, source)))
        return used is not None and self._is_alive(used)

    def _is_alive(self, used: float) -> bool:
        return self._clock.now - used <= self.nat.timeout

    def _translates(self, address: Address) -> bool:
        return self.nat.translates and ":" not in address[0]


def _key(behaviour: Mapping | Filtering, remote: Address) -> tuple[str | int, ...]:
    """What of the remote side a mapping or filter goes by."""
    match behaviour.value:
        case "endpoint-independent":
            return ()
        case "address-dependent":
            return (remote[0],)
        case _:
            return remote
