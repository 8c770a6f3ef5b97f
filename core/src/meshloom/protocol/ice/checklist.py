"""The pairs of one session (RFC 8445 section 6.1.2): one for each candidate of the other's and each of our ways."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from meshloom.protocol.ice.candidate import Candidate, CandidateKind
from meshloom.protocol.ice.pair import Pair, PairState
from meshloom.protocol.stun import Address

MAX_PAIRS = 64
MAX_PEER_REFLEXIVE = 8
MAX_OF_ONE_HOST = 4
"""Of those: a router that shows a new port with each check must not keep out the address that works."""

INSIDE = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)
"""Addresses that mean something else behind every router (RFC 1918, 6598, 3927, 4193, 4291)."""


class Checklist:
    """Bounded: what does not fit is left out.

    Args:
        direct: Whether the port itself is a way, besides our relayed candidates.
    """

    def __init__(self, *, direct: bool = True) -> None:
        self._direct = direct
        self._remotes: dict[Address, Candidate] = {}
        self._pairs: dict[tuple[Address | None, Address], Pair] = {}
        self._ways: dict[Address, Candidate] = {}

    def __iter__(self) -> Iterator[Pair]:
        return iter(list(self._pairs.values()))

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, via: Address | None, remote: Address) -> Pair | None:
        """The pair that a datagram of *remote*, come *via* a relayed candidate of ours, belongs to."""
        return self._pairs.get((via, remote))

    def add(self, remote: Candidate, now: float) -> None:
        """A candidate of the other's, by every way that we have; what was only learned of it before becomes sure."""
        if len(self._remotes) < MAX_PAIRS:
            self._remotes.setdefault(remote.address, remote)
        if self._direct:
            self._add(remote, None, now)
        for way in self._ways.values():
            self._add(remote, way, now)

    def set_ways(self, relayed: dict[Address, Candidate], now: float) -> list[Pair]:
        """Our relayed candidates as they are now; the pairs that went through others, which are gone."""
        gone = [pair for (via, _), pair in self._pairs.items() if via is not None and via not in relayed]
        for pair in gone:
            del self._pairs[_key(pair)]
        new = [relayed[address] for address in relayed.keys() - self._ways.keys()]
        self._ways = relayed
        for remote in self._remotes.values():
            for way in new:
                self._add(remote, way, now)
        return gone

    def shown(self, source: Address, rank: int, via: Address | None) -> Pair | None:
        """The pair by which the other side reaches us, kept or not (section 7.3.1.3); None for no way of ours."""
        if (via is None and not self._direct) or (via is not None and via not in self._ways):
            return None
        remote = Candidate(CandidateKind.PEER_REFLEXIVE, source, rank, "prflx")
        return self.get(via, source) or Pair(remote, None, via=self._ways[via] if via is not None else None)

    def learn(self, pair: Pair, selected: Pair | None) -> bool:
        """Keep a pair that the other side has shown us; False where there is no room."""
        if _key(pair) in self._pairs:
            return True
        learned = [each for each in self._pairs.values() if each.remote.kind is CandidateKind.PEER_REFLEXIVE]
        of_host = [each for each in learned if each.remote.address[0] == pair.remote.address[0]]
        if len(of_host) >= MAX_OF_ONE_HOST or len(learned) >= MAX_PEER_REFLEXIVE:
            learned = of_host if len(of_host) >= MAX_OF_ONE_HOST else learned
            idle = [each for each in learned if each.next_check is None and each is not selected]
            if not idle or selected is None:
                return False
            del self._pairs[_key(idle[0])]
        elif len(self._pairs) >= MAX_PAIRS:
            return False
        self._pairs[_key(pair)] = pair
        return True

    def best(self, *, controlling: bool, besides: Pair | None = None, nominated: bool = False) -> Pair | None:
        """Of those that work, and were chosen where *nominated* asks for that; *besides* only where it is alone."""
        working = [pair for pair in self._pairs.values() if pair.state is PairState.SUCCEEDED]
        if len(working) > 1:
            working = [pair for pair in working if pair is not besides]
        chosen = (pair for pair in working if pair.nominated or not nominated)
        return max(chosen, key=lambda pair: pair.rank(controlling), default=None)

    def _add(self, remote: Candidate, way: Candidate | None, now: float) -> None:
        if way is not None and not _leads_to(way.address[0], remote.address[0]):
            return
        made = Pair(remote, now, via=way)
        known = self._pairs.get(_key(made))
        if known is not None:
            if known.remote.kind is CandidateKind.PEER_REFLEXIVE:
                known.remote = remote
        elif len(self._pairs) < MAX_PAIRS:
            self._pairs[_key(made)] = made


def _leads_to(relay: str, remote: str) -> bool:
    """Whether a relay may reach that address: not one of another family, nor from outside one behind some router.

    Besides, a server that has no route there may give up the whole allocation.
    """
    return (":" in relay) == (":" in remote) and (_is_inside(relay) or not _is_inside(remote))


def _is_inside(address: str) -> bool:
    return any(ip_address(address) in network for network in INSIDE)


def _key(pair: Pair) -> tuple[Address | None, Address]:
    return pair.via.address if pair.via is not None else None, pair.remote.address
