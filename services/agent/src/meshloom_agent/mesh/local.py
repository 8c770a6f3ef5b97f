"""Our own candidates: of the host's interfaces, as STUN servers see them, and on TURN servers."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from meshloom.protocol.ice import AddressDiscovery, Candidate, CandidateKind, Outgoing
from meshloom.protocol.ice.candidate import local_candidate
from meshloom.protocol.stun import Address
from meshloom_agent.mesh.candidates import host_candidates
from meshloom_agent.unfit import LINK_LOCAL, unfit_peer

ASK_AGAIN = 5.0
"""Seconds between two questions to STUN servers because of paths that are lost."""


class LocalCandidates:
    """The shared port's. After each call look at ``changed``, drain ``datagrams()``, and wake it at ``deadline()``.

    Args:
        token: First bytes of the transactions with STUN servers.
    """

    def __init__(self, token: bytes, entropy: Callable[[int], bytes]) -> None:
        self.candidates: list[Candidate] = []
        self.listen_port = 0
        self.changed = False
        """Whether ``candidates`` are others since this was last set to False."""
        self._discovery = AddressDiscovery(token, entropy)
        self._addresses: list[str] = []
        self._allocations: dict[Address, Address] = {}
        self._external: list[tuple[str, str]] = []
        self._opened: dict[Address, Address] = {}
        self._asked = -ASK_AGAIN

    def set_servers(self, stuns: Sequence[Address], now: float) -> None:
        """STUN servers, resolved."""
        self._discovery.set_servers(stuns, now)
        self._follow()

    def set_allocations(self, allocations: Mapping[Address, Address]) -> None:
        """Our relayed addresses on TURN servers, each with the address of ours that the server sees."""
        if dict(allocations) != self._allocations:
            self._allocations = dict(allocations)
            self._make()

    def set_external(self, addresses: Sequence[tuple[str, str]]) -> None:
        """Addresses of routers that hand our port on to us as it is, each with ours behind it."""
        if list(addresses) != self._external:
            self._external = list(addresses)
            self._make()

    def set_opened(self, opened: Mapping[Address, Address]) -> None:
        """Ports of routers that they have opened for ours on request, each with our address behind it."""
        if dict(opened) != self._opened:
            self._opened = dict(opened)
            self._make()

    def set_addresses(self, addresses: Sequence[str], listen_port: int, now: float) -> bool:
        """Addresses of this host's interfaces, best first, and WireGuard's port; whether others were known before."""
        if list(addresses) == self._addresses and listen_port == self.listen_port:
            return False
        moved = bool(self.listen_port)
        self._addresses, self.listen_port = list(addresses), listen_port
        if moved:
            self._discovery.ask_again(now)
        self._make()
        return moved

    def path_lost(self, now: float) -> None:
        """Our router may have been restarted, and our addresses be others: ask, once for all paths that are lost."""
        if now >= self._asked + ASK_AGAIN:
            self._asked = now
            self._discovery.ask_again(now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """A STUN server's answer."""
        self._discovery.receive(data, source, now)
        self._follow()

    def handle_timer(self, now: float) -> None:
        """Ask what is to be asked."""
        due = self._discovery.deadline()
        if due is not None and due <= now:
            self._discovery.handle_timer(now)
            self._follow()

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        return self._discovery.deadline()

    def datagrams(self) -> list[Outgoing]:
        """What to send now."""
        return [(data, server, None) for data, server in self._discovery.datagrams()]

    @property
    def mapped(self) -> list[Address]:
        """The port's addresses as STUN servers see them."""
        return self._discovery.mapped

    def refuses(self, address: Address, overlay: Sequence[IPv4Network | IPv6Network], *, ipv6: bool) -> bool:
        """Tells whether no check may go there, whoever says that a peer is there: the overlay, groups, ourselves.

        Args:
            address: There.
            overlay: Networks of the mesh.
            ipv6: Whether paths over IPv6 are looked for.
        """
        parsed = ip_address(address[0])
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if parsed.version == 6 and not ipv6:
            return True
        own = [each.address for each in self.candidates]
        has_link_local = parsed in LINK_LOCAL and any(ip_address(each[0]) in LINK_LOCAL for each in own)
        return unfit_peer(parsed, overlay, has_link_local=has_link_local) or address in own

    def _follow(self) -> None:
        if self._discovery.changed:
            self._discovery.changed = False
            self._make()

    def _make(self) -> None:
        hosts = host_candidates(self._addresses, self.listen_port)
        bases: dict[Address, Address] = {}
        if self.listen_port:  # what is sure to be handed on to us comes before what a router may only do for some
            bases |= {(outer, self.listen_port): (inner, self.listen_port) for outer, inner in self._external}
            bases |= self._opened
        for mapped in self._discovery.mapped:
            bases.setdefault(mapped, self._base(mapped, hosts))
        known = {candidate.address for candidate in hosts}
        reflexive = [
            local_candidate(CandidateKind.SERVER_REFLEXIVE, mapped, 65535 - number, base)
            for number, (mapped, base) in enumerate(bases.items())
            if mapped not in known
        ]
        relayed = [
            local_candidate(CandidateKind.RELAY, address, 65535 - number, seen)
            for number, (address, seen) in enumerate(self._allocations.items())
        ]
        self.candidates = hosts + reflexive + relayed
        self.changed = True

    def _base(self, mapped: Address, hosts: list[Candidate]) -> Address:
        """The local address behind a mapped one: the first of its family."""
        for host in hosts:
            if (":" in host.address[0]) == (":" in mapped[0]):
                return host.address
        return "0.0.0.0", self.listen_port
