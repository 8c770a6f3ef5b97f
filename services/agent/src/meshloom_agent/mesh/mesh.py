"""All peer connections of one agent, and what they share: the port's addresses, signal, one timer."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

import attrs

from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import AddressDiscovery, Candidate, CandidateKind, Outgoing
from meshloom.protocol.ice.candidate import local_candidate
from meshloom.protocol.signal import SignalKind, SignalMessage
from meshloom.protocol.stun import Address, Attribute
from meshloom_agent.mesh.candidates import host_candidates
from meshloom_agent.mesh.connection import Endpoint, PeerConnection
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.mesh.relay import HomeRelay, RelayUse
from meshloom_agent.mesh.status import PathStatus

IPNetwork = IPv4Network | IPv6Network
DISCOVERY = b"\0\0\0\0"
USERNAME_AT = 20
"""Where a request's first attribute begins; ICE's requests begin with USERNAME, others are searched for it."""


@attrs.frozen
class RemotePeer:
    """A peer of the network map."""

    allowed_ips: tuple[IPNetwork, ...]
    fqdn: str = ""
    version: str = ""


class Mesh:
    """Everything between the network map and the endpoints of WireGuard's peers.

    After each call: send ``datagrams()`` and ``signals()``, look at ``endpoints`` where ``endpoints_changed`` and at
    ``relays`` where ``relays_changed``, and wake it at ``deadline()``.
    """

    def __init__(self, own: PublicKey, entropy: Callable[[int], bytes], options: MeshOptions | None = None) -> None:
        self.options = options or MeshOptions()
        self.peers: dict[PublicKey, RemotePeer] = {}
        self.endpoints: dict[PublicKey, Endpoint | None] = {}
        """The peers that WireGuard shall have, and where they are; None for one that must be waited for.

        The side that begins is not to have the peer before there is a path: WireGuard would try a handshake into
        nowhere, and then not again for 5 s. The other side has to be ready for that handshake.
        """
        self.endpoints_changed = False
        self.relays: dict[PublicKey, RelayUse] = {}
        """The relayed paths that shall be open; whether they are is told by ``relay_opened`` and ``relay_lost``."""
        self.relays_changed = False
        """Also where a path began or ceased to be a direct one."""
        self._direct: dict[PublicKey, Address] = {}
        self._home: HomeRelay | None = None
        self._own, self._entropy = own, entropy
        self._connections: dict[PublicKey, PeerConnection] = {}
        self._by_ufrag: dict[bytes, PeerConnection] = {}
        self._by_token: dict[bytes, PeerConnection] = {}
        self._tokens = 0
        self._discovery = AddressDiscovery(DISCOVERY, entropy)
        self._addresses: list[str] = []
        self._allocations: dict[Address, Address] = {}
        self._listen_port = 0
        self._candidates: list[Candidate] = []
        self._overlay: list[IPNetwork] = []
        self._signal_ready = False
        self._timers: list[tuple[float, int, PublicKey]] = []
        self._planned: dict[PublicKey, float] = {}
        self._order = 0
        self._out: list[Outgoing] = []
        self._signals: list[SignalMessage] = []

    # -- what is told to it ------------------------------------------------------------------------------------

    def set_peers(self, peers: Mapping[PublicKey, RemotePeer], now: float) -> None:
        """The peers of the newest map; connections to those that are gone end at once."""
        for gone in self.peers.keys() - peers.keys():
            connection = self._connections.pop(gone)
            del self._by_ufrag[connection.ufrag.encode()]
            self._by_token = {token: each for token, each in self._by_token.items() if each is not connection}
            self.endpoints.pop(gone, None)
            self._direct.pop(gone, None)
            self.relays_changed |= self.relays.pop(gone, None) is not None
            self._planned.pop(gone, None)
            self.endpoints_changed = True
        new = peers.keys() - self.peers.keys()
        self.peers = dict(peers)
        for key in peers:
            if key in new and key != self._own:
                self._connect(key, now)

    def set_overlay(self, networks: Sequence[IPNetwork]) -> None:
        """Networks of the mesh itself: no path leads through them."""
        self._overlay = list(networks)

    def set_servers(self, stuns: Sequence[Address], now: float) -> None:
        """STUN servers, resolved."""
        self._discovery.set_servers(stuns, now)
        self._after_discovery(now)

    def set_allocations(self, allocations: Mapping[Address, Address], now: float) -> None:
        """Our relayed addresses on TURN servers, each with the address of ours that the server sees."""
        if dict(allocations) != self._allocations:
            self._allocations = dict(allocations)
            self._new_candidates(now, moved=False)

    def set_local(self, addresses: Sequence[str], listen_port: int, now: float) -> bool:
        """Addresses of this host's interfaces, best first, and WireGuard's port; whether others were known before."""
        if list(addresses) == self._addresses and listen_port == self._listen_port:
            return False
        moved = bool(self._listen_port)
        self._addresses, self._listen_port = list(addresses), listen_port
        if moved:
            self._discovery.ask_again(now)
        self._new_candidates(now, moved=moved)
        return moved

    def signal_ready(self, ready: bool, now: float) -> None:
        """Whether messages can be sent and received."""
        self._signal_ready = ready
        for connection in self._connections.values():
            connection.signal_ready(ready, now)
            self._drain(connection)

    def set_home_relay(self, home: HomeRelay | None, now: float) -> None:
        """The relay that we are connected to, or none."""
        if home == self._home:
            return
        self._home = home
        for connection in self._connections.values():
            connection.set_home(home, now)
            self._drain(connection)

    def relay_opened(self, peer: PublicKey, now: float) -> None:
        """The relayed path that ``relays`` asks for reaches the peer."""
        if peer in self.relays:
            self._connections[peer].relay_opened(now)
            self._drain(self._connections[peer])

    def relay_lost(self, peer: PublicKey, reason: str, now: float) -> None:
        """It does not, or no longer; *reason* in words."""
        if (connection := self._connections.get(peer)) is not None:
            connection.relay_lost(reason, now)
            self._drain(connection)

    def receive_signal(self, message: SignalMessage, now: float) -> None:
        """A message of another agent; those of peers outside the map are dropped."""
        connection = self._connections.get(message.other)
        if connection is not None and message.kind not in (SignalKind.HEARTBEAT, SignalKind.MODE):
            connection.receive_signal(message, now)
            self._drain(connection)

    def receive_datagram(self, data: bytes, source: Address, now: float, via: Address | None = None) -> None:
        """A STUN message that came to the shared port, or *via* a relayed candidate of ours."""
        if len(data) < USERNAME_AT:
            return
        if data[0] & 1:  # a response
            token = data[8:12]
            if token == DISCOVERY:
                self._discovery.receive(data, source, now)
                self._after_discovery(now)
                return
            connection = self._by_token.get(token)
        else:
            connection = self._by_ufrag.get(_receiver(data))
        if connection is not None:
            connection.receive_datagram(data, source, now, via)
            self._drain(connection)

    def set_handshakes(self, latest: Mapping[PublicKey, float | None], now: float) -> None:
        """When WireGuard last shook hands with each peer, on the same clock as ``now``."""
        for key, connection in self._connections.items():
            if connection.is_connected:
                connection.handshake(latest.get(key), now)
                self._drain(connection)

    # -- time --------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        """Do what is due, and look only at the connections that have something to do."""
        due = self._discovery.deadline()
        if due is not None and due <= now:
            self._discovery.handle_timer(now)
            self._after_discovery(now)
        while self._timers and self._timers[0][0] <= now:
            time, _, key = heapq.heappop(self._timers)
            connection = self._connections.get(key)
            if connection is not None and self._planned.get(key) == time:
                del self._planned[key]
                connection.handle_timer(now)
                self._drain(connection)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        while self._timers and self._planned.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        times = [self._timers[0][0]] if self._timers else []
        if (due := self._discovery.deadline()) is not None:
            times.append(due)
        return min(times, default=None)

    def datagrams(self) -> list[Outgoing]:
        """What to send now."""
        out, self._out = self._out, []
        return out

    def signals(self) -> list[SignalMessage]:
        """What to send by signal now."""
        out, self._signals = self._signals, []
        return out

    def status(self, peer: PublicKey) -> PathStatus:
        """For people."""
        return self._connections[peer].status()

    def session(self, peer: PublicKey) -> int:
        """Grows when WireGuard has to forget its session with the peer and shake hands anew."""
        return self._connections[peer].session

    def direct_address(self, peer: PublicKey) -> Address | None:
        """Where the peer is while the direct path to it is in use."""
        return self._direct.get(peer)

    @property
    def connected(self) -> int:
        """How many peers are connected."""
        return sum(connection.is_connected for connection in self._connections.values())

    @property
    def public_addresses(self) -> list[Address]:
        """Our port's addresses as STUN servers see them."""
        return self._discovery.mapped

    # -- inside ------------------------------------------------------------------------------------------------

    def _connect(self, key: PublicKey, now: float) -> None:
        self._tokens += 1
        token = self._tokens.to_bytes(4)
        connection = PeerConnection(
            self._own,
            key,
            token=token,
            entropy=self._entropy,
            options=self.options,
            refuse=self._is_overlay,
            now=now,
        )
        self._connections[key] = connection
        self._by_ufrag[connection.ufrag.encode()] = connection
        self._by_token[token] = connection
        connection.set_local(self._candidates, self._listen_port, now, moved=False)
        connection.set_home(self._home, now)
        connection.signal_ready(self._signal_ready, now)
        self._drain(connection)

    def _drain(self, connection: PeerConnection) -> None:
        """After every call of a connection."""
        self._out += connection.datagrams()
        self._signals += connection.signals
        connection.signals.clear()
        key = connection.other
        if connection.endpoint is None and connection.controlling:
            if self.endpoints.pop(key, None) is not None:
                self.endpoints_changed = True
        elif key not in self.endpoints or self.endpoints[key] != connection.endpoint:
            self.endpoints[key] = connection.endpoint
            self.endpoints_changed = True
        if connection.relay != self.relays.get(key):
            self.relays_changed = True
            if connection.relay is None:
                del self.relays[key]
            else:
                self.relays[key] = connection.relay
        direct = connection.direct_address
        if direct != self._direct.get(key):
            self.relays_changed = True
            if direct is None:
                del self._direct[key]
            else:
                self._direct[key] = direct
        due = connection.deadline()
        if due is None:
            self._planned.pop(key, None)
        elif self._planned.get(key) != due:
            self._planned[key] = due
            self._order += 1
            heapq.heappush(self._timers, (due, self._order, key))

    def _after_discovery(self, now: float) -> None:
        self._out += [(data, server, None) for data, server in self._discovery.datagrams()]
        if self._discovery.changed:
            self._discovery.changed = False
            self._new_candidates(now, moved=False)

    def _new_candidates(self, now: float, *, moved: bool) -> None:
        hosts = host_candidates(self._addresses, self._listen_port)
        known = {candidate.address for candidate in hosts}
        reflexive = [
            local_candidate(CandidateKind.SERVER_REFLEXIVE, mapped, 65535 - number, self._base(mapped, hosts))
            for number, mapped in enumerate(self._discovery.mapped)
            if mapped not in known
        ]
        relayed = [
            local_candidate(CandidateKind.RELAY, address, 65535 - number, seen)
            for number, (address, seen) in enumerate(self._allocations.items())
        ]
        self._candidates = hosts + reflexive + relayed
        for connection in self._connections.values():
            connection.set_local(self._candidates, self._listen_port, now, moved=moved)
            self._drain(connection)

    def _base(self, mapped: Address, hosts: list[Candidate]) -> Address:
        """The local address behind a mapped one: the first of its family."""
        for host in hosts:
            if (":" in host.address[0]) == (":" in mapped[0]):
                return host.address
        return "0.0.0.0", self._listen_port

    def _is_overlay(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._overlay)


def _receiver(data: bytes) -> bytes:
    """The receiver's ufrag of a request; empty where there is none."""
    at = USERNAME_AT
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4])
        if data[at : at + 2] == Attribute.USERNAME.to_bytes(2):
            return data[at + 4 : at + 4 + size].partition(b":")[0]
        at += 4 + size + -size % 4
    return b""
