"""The laboratory: an internet, networks behind routers, hosts."""

from ipaddress import IPv4Network, IPv6Network
from random import Random

from meshloom.protocol.stun import Address
from meshloom.testing.lab.clock import VirtualClock
from meshloom.testing.lab.host import Host
from meshloom.testing.lab.nat import Nat
from meshloom.testing.lab.network import Conditions, Network
from meshloom.testing.lab.router import Router

INTERNET_4 = IPv4Network("20.0.0.0/8")
INTERNET_6 = IPv6Network("2600::/32")
PRIVATE_4 = IPv4Network("10.0.0.0/8")
ROUTED_4 = IPv4Network("21.0.0.0/8")
ROUTED_6 = IPv6Network("2600:1::/32")


class Site:
    """A network behind a router, or the internet itself."""

    def __init__(self, lab: "Lab", network: Network, router: Router | None) -> None:
        self.network, self.router = network, router
        self._lab = lab

    def host(self, name: str = "") -> Host:
        """A new host on it."""
        self._lab.hosts.append(Host(name or f"host{len(self._lab.hosts)}").join(self.network))
        return self._lab.hosts[-1]

    def behind(self, nat: Nat, *, ipv6: bool = False) -> "Site":
        """A new network whose router is on this one: a second NAT."""
        return self._lab.behind(nat, ipv6=ipv6, outside=self)


class Lab:
    """Everything that is simulated, of one seed.

    Args:
        conditions: Of the internet; networks behind routers are fast and lose nothing.
    """

    def __init__(self, seed: int = 0, conditions: Conditions | None = None, *, ipv6: bool = False) -> None:
        self.clock = VirtualClock()
        self.random = Random(seed)
        self.hosts: list[Host] = []
        self._routers: dict[str, Router] = {}
        self._networks = 0
        network = Network(
            self.clock,
            self.random,
            "internet",
            ipv4=INTERNET_4,
            ipv6=INTERNET_6 if ipv6 else None,
            conditions=conditions or Conditions(),
        )
        self.internet = Site(self, network, None)

    def behind(
        self,
        nat: Nat,
        *,
        ipv4: IPv4Network | bool = True,
        ipv6: bool = False,
        outside: Site | None = None,
    ) -> Site:
        """A new network behind a new router on the internet, or on *outside*.

        Its IPv4 addresses, where it has any, are private, or public where *nat* does not translate; they are its own
        unless *ipv4* says which.
        """
        first = PRIVATE_4 if nat.translates else ROUTED_4
        self._networks += 1
        number = self._networks
        own = IPv4Network((int(first.network_address) + (number << 8), 24))
        inside = Network(
            self.clock,
            self.random,
            f"network{number}",
            ipv4=(own if ipv4 else None) if isinstance(ipv4, bool) else ipv4,
            ipv6=IPv6Network((int(ROUTED_6.network_address) + (number << 64), 64)) if ipv6 else None,
        )
        router = Router(self.clock, self.random, nat, inside, (outside or self.internet).network)
        if router.ipv4 is not None:
            self._routers[router.ipv4] = router
        return Site(self, inside, router)

    def owner(self, address: Address) -> Host | None:
        """The host to which an address of the internet or of any network leads now, through all translations."""
        inside: Address | None = address
        while inside is not None and inside[0] in self._routers:
            inside = self._routers[inside[0]].inside_of(inside[1])
        return next((host for host in self.hosts if inside is not None and inside[0] in host.addresses), None)
