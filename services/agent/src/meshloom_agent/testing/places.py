"""Places in the simulated internet where agents of a random schedule are, and which of them reach each other."""

from random import Random

import attrs

from meshloom.testing.lab import BEHAVIOURS, OPEN, Filtering, Host, Lab, Mapping, Nat, can_be_direct
from meshloom.testing.lab.lab import Site
from meshloom.testing.lab.router import Router

INTERNET, OUTER, INNER = 0, 1, 4


class Places:
    """The internet, three networks behind routers of random behaviour, and one behind the first of them."""

    def __init__(self, lab: Lab, random: Random, *, ipv6: bool) -> None:
        self._lab, self._ipv6 = lab, ipv6
        self._sites: list[Site] = [lab.internet]
        self._nats: list[Nat] = [OPEN]
        self._where: dict[Host, int] = {}
        for _ in range(3):
            self._add(lab.internet, attrs.evolve(random.choice(BEHAVIOURS), preserves_port=random.random() < 0.3))
        self._add(self._sites[OUTER], random.choice(BEHAVIOURS))
        self._nats[INNER] = _worse(self._nats[OUTER], self._nats[INNER])

    def _add(self, outside: Site, nat: Nat) -> None:
        ipv6 = self._ipv6 and outside is self._lab.internet
        self._sites.append(self._lab.behind(nat, ipv6=ipv6, outside=outside))
        self._nats.append(nat)

    def __len__(self) -> int:
        return len(self._sites)

    def new_host(self, place: int) -> Host:
        """A host there."""
        host = self._sites[place].host()
        self._where[host] = place
        return host

    def move(self, host: Host, place: int) -> None:
        """It loses its addresses and gets others."""
        self._where[host] = place
        host.leave().join(self._sites[place].network)

    def router(self, place: int) -> Router | None:
        """The router before a place; the internet has none."""
        return self._sites[place].router

    def on_the_internet(self) -> list[str]:
        """The addresses of all hosts and routers that are on the internet itself."""
        found = [each for host, place in self._where.items() if place == INTERNET for each in host.addresses]
        routers = [site.router for site in self._sites if site.router is not None]
        return found + [each.ipv4 for each in routers if each.ipv4 and each.outside is self._lab.internet.network]

    def describe(self, place: int) -> str:
        """For people."""
        nat = self._nats[place]
        return "the internet" if place == INTERNET else f"network{place} ({nat.mapping}/{nat.filtering})"

    def are_direct(self, one: Host, other: Host) -> bool:
        """Whether there is a direct path, by reasoning."""
        here, there = self._where[one], self._where[other]
        if here == there or (self._ipv6 and INNER not in {here, there}):
            return True
        if {here, there} == {OUTER, INNER}:  # the second is behind the first: only as far as the inner router lets in
            return can_be_direct(self._nats[INNER], OPEN)
        return can_be_direct(self._nats[here], self._nats[there])


def _worse(one: Nat, other: Nat) -> Nat:
    """Two NATs, one behind the other, as one."""
    mappings, filterings = list(Mapping), list(Filtering)
    return Nat(
        max(one.mapping, other.mapping, key=mappings.index), max(one.filtering, other.filtering, key=filterings.index)
    )
