"""All peer connections of one agent, and what they share: the port's addresses, signal, one timer."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from meshloom.model.keys import PublicKey
from meshloom.protocol.ice import Outgoing
from meshloom.protocol.signal import SignalKind, SignalMessage
from meshloom.protocol.stun import HEADER, Address
from meshloom_agent.mesh.connection import PeerConnection
from meshloom_agent.mesh.endpoint import Endpoint
from meshloom_agent.mesh.lazy import Asleep, Sleepers, can_sleep, is_initiation, is_keepalive
from meshloom_agent.mesh.local import LocalCandidates
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.mesh.path import ThroughTurn
from meshloom_agent.mesh.registry import Registry
from meshloom_agent.mesh.relay import OwnRelays, RelayUse
from meshloom_agent.mesh.remote import IPNetwork, RemotePeer
from meshloom_agent.mesh.status import ConnectionState, PathStatus, with_absence
from meshloom_agent.mesh.tables import put

DISCOVERY = b"\0\0\0\0"
NOT_FOR_CONNECTIONS = frozenset({SignalKind.HEARTBEAT, SignalKind.MODE})


class Mesh:
    """Everything between the network map and the endpoints of WireGuard's peers.

    After each call: send ``datagrams()``, ``signals()`` and ``packets()``, look at ``endpoints`` where
    ``endpoints_changed`` and at ``relays`` where ``relays_changed``, and wake it at ``deadline()``.
    """

    def __init__(self, own: PublicKey, entropy: Callable[[int], bytes], options: MeshOptions | None = None) -> None:
        self.options = options or MeshOptions()
        self.peers: dict[PublicKey, RemotePeer] = {}
        self.endpoints: dict[PublicKey, Endpoint | Asleep | None] = {}
        """The peers that WireGuard shall have, and where they are; None for one that must be waited for.

        The side that begins is not to have the peer before there is a path: WireGuard would try a handshake into
        nowhere, and then not again for 5 s. The other side has to be ready for that handshake.
        """
        self.endpoints_changed = False
        self.relays: dict[PublicKey, RelayUse] = {}
        """The relayed paths that shall be open; whether they are is told by ``relay_opened`` and ``relay_lost``."""
        self.relays_changed = False
        """Also where a connection begins, and where a path began or ceased to be a direct or a turned one."""
        self.turned: dict[PublicKey, ThroughTurn] = {}
        """The peers whose packets go through a relayed address of ours on a TURN server."""
        self._direct: dict[PublicKey, Address] = {}
        self.retaken: set[PublicKey] = set()
        """Peers whose endpoint is the old one again: WireGuard may have learned another meanwhile. To be cleared."""
        self._mtus: dict[PublicKey, int] = {}
        self._taken: dict[PublicKey, int] = {}
        self._own_relays = OwnRelays()
        self._own, self._entropy = own, entropy
        self._connections = Registry()
        self._tokens = 0
        self._local = LocalCandidates(DISCOVERY, entropy)
        self._overlay: list[IPNetwork] = []
        self._signal_ready = False
        self._lazy = False
        self._sleepers = Sleepers()
        self._away: dict[PublicKey, float] = {}
        self._parted: Counter[PublicKey] = Counter()
        self._out: list[Outgoing] = []
        self._signals: list[SignalMessage] = []
        self._packets: list[tuple[PublicKey, Endpoint, bytes]] = []

    # -- what is told to it ------------------------------------------------------------------------------------

    def set_peers(self, peers: Mapping[PublicKey, RemotePeer], now: float) -> None:
        """The peers of the newest map; connections to those that are gone end at once."""
        for gone in self.peers.keys() - peers.keys():
            self._end(gone)
            self._sleepers.forget(gone)
            for table in (self._away, self._parted):
                table.pop(gone, None)
            self.endpoints_changed |= gone in self.endpoints
            self.endpoints.pop(gone, None)
        new = [key for key in peers if key not in self.peers and key != self._own]
        self.peers = dict(peers)
        for key in new:
            if self._may_sleep(key):
                self._put_to_sleep(key, now)
            else:
                self._connect(key, now)

    def set_lazy(self, lazy: bool, now: float) -> None:
        """Whether peers without traffic sleep; those that are awake fall asleep when they have been idle for long."""
        self._lazy = lazy
        for key in list(self._sleepers.since) if not lazy else ():
            self.wake(key, now)

    def set_overlay(self, networks: Sequence[IPNetwork]) -> None:
        """Networks of the mesh itself: no path leads through them."""
        self._overlay = list(networks)

    def set_servers(self, stuns: Sequence[Address], now: float) -> None:
        """STUN servers, resolved."""
        self._local.set_servers(stuns, now)
        self._after_local(now)

    def set_allocations(self, allocations: Mapping[Address, Address], now: float) -> None:
        """Our relayed addresses on TURN servers, each with the address of ours that the server sees."""
        self._local.set_allocations(allocations)
        self._after_local(now)

    def set_external(self, addresses: Sequence[tuple[str, str]], now: float) -> None:
        """Addresses of routers that hand our port on to us, each with ours behind it."""
        self._local.set_external(addresses)
        self._after_local(now)

    def set_mapped(self, mapped: Mapping[Address, Address], now: float) -> None:
        """Ports of routers that they have opened for ours on request, each with our address behind it."""
        self._local.set_opened(mapped)
        self._after_local(now)

    def set_local(self, addresses: Sequence[str], listen_port: int, now: float) -> bool:
        """Addresses of this host's interfaces, best first, and WireGuard's port; whether others were known before."""
        moved = self._local.set_addresses(addresses, listen_port, now)
        self._after_local(now, moved=moved)
        return moved

    def signal_ready(self, ready: bool, now: float) -> None:
        """Whether messages can be sent and received."""
        self._signal_ready = ready
        for connection in self._connections:
            connection.signal_ready(ready, now)
            self._drain(connection)

    def set_relays(self, own: OwnRelays, now: float) -> None:
        """The relay that we are connected to, or none, and all that we may be."""
        if own == self._own_relays:
            return
        self._own_relays = own
        for connection in self._connections:
            connection.set_relays(own, now)
            self._drain(connection)

    def relay_opened(self, peer: PublicKey, now: float) -> None:
        """The relayed path that ``relays`` asks for reaches the peer."""
        connection = self._connections.get(peer)
        if connection is not None and peer in self.relays:
            connection.relay_opened(now)
            self._drain(connection)

    def relay_lost(self, peer: PublicKey, reason: str, now: float) -> None:
        """It does not, or no longer; *reason* in words."""
        if (connection := self._connections.get(peer)) is not None:
            connection.relay_lost(reason, now)
            self._drain(connection)

    def receive_signal(self, message: SignalMessage, now: float) -> None:
        """A message of another agent; those of peers outside the map are dropped. It wakes a peer that sleeps."""
        key = message.other
        if message.kind is SignalKind.GO_IDLE:
            if key in self._connections and self._may_sleep(key) and not self._sleepers.is_new(key, now):
                self._put_to_sleep(key, now)
        elif message.goodbye is not None:
            self._part_from(key, message.goodbye, now)
        elif key in self.peers and message.kind not in NOT_FOR_CONNECTIONS:
            self._away.pop(key, None)
            connection = self._connections.get(key) or self._connect(
                key, now, is_called=message.kind is SignalKind.OFFER
            )
            connection.receive_signal(message, now)
            self._drain(connection)

    def set_away(self, away: Mapping[PublicKey, float], asked: float) -> None:
        """Peers that are away and since when, as management said when it was *asked*; a later goodbye stays."""
        said = {key: since for key, since in self._away.items() if since >= asked}
        self._away = {key: since for key, since in away.items() if key in self.peers} | said

    def farewell(self) -> list[SignalMessage]:
        """Returns what to say when this agent ends: who is connected to it need not find out."""
        return [each.goodbye for each in self._connections if each.is_connected]

    def receive_datagram(self, data: bytes, source: Address, now: float, via: Address | None = None) -> None:
        """A STUN message that came to the shared port, or *via* a relayed candidate of ours."""
        if len(data) < HEADER:
            return
        if data[0] & 1 and data[8:12] == DISCOVERY:
            self._local.receive(data, source, now)
            self._after_local(now)
        elif (connection := self._connections.addressed(data)) is not None and not self._is_refused(source):
            connection.receive_datagram(data, source, now, via)
            self._drain(connection)

    def set_handshakes(self, latest: Mapping[PublicKey, float | None], now: float) -> None:
        """When WireGuard last shook hands with each peer, on the same clock as ``now``."""
        for connection in self._connections:
            if connection.is_connected:
                connection.handshake(latest.get(connection.other), now)
                self._drain(connection)

    # -- sleep -------------------------------------------------------------------------------------------------

    def rung(self, number: int, packet: bytes, now: float) -> None:
        """WireGuard has a packet for the peer that sleeps under that number."""
        key = self._sleepers.peer(number)
        if key is not None and key in self.peers and not is_keepalive(packet):
            self._sleepers.packets[key] = packet
            self.wake(key, now)

    def wake(self, peer: PublicKey, now: float) -> None:
        """Connect to a peer, whether it sleeps or not."""
        if peer not in self._connections:
            self._connect(peer, now)

    def set_traffic(self, traffic: Mapping[PublicKey, int], now: float) -> None:
        """Bytes exchanged with each peer, as WireGuard counts them: those that were idle for long fall asleep."""
        self._sleepers.news = False
        if not self._lazy:
            return
        awake = {key: count for key, count in traffic.items() if key in self._connections and self._may_sleep(key)}
        for key in self._sleepers.activity.observe(awake, now, self.options.idle_after):
            self._signals.append(SignalMessage(SignalKind.GO_IDLE, key))
            self._put_to_sleep(key, now)

    @property
    def asleep(self) -> Collection[PublicKey]:
        """Those that every packet for them has to ring for."""
        return self._sleepers.since.keys()

    @property
    def needs_look(self) -> bool:
        """Whether WireGuard has something to tell: of peers that are connected, or have lately fallen asleep."""
        return self._sleepers.news or self.connected > 0

    def _may_sleep(self, peer: PublicKey) -> bool:
        return self._lazy and can_sleep(self.peers[peer].version)

    def _put_to_sleep(self, peer: PublicKey, now: float) -> None:
        self._end(peer)
        self.endpoints[peer] = self._sleepers.add(peer, now)
        self.endpoints_changed = True

    # -- time --------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        """Do what is due, and look only at the connections that have something to do."""
        self._local.handle_timer(now)
        self._after_local(now)
        for connection in self._connections.due(now):
            had_path = connection.direct_address is not None
            connection.handle_timer(now)
            if had_path and connection.direct_address is None:
                self._local.path_lost(now)
            self._drain(connection)
        self._after_local(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        times = (self._connections.deadline(), self._local.deadline())
        return min((time for time in times if time is not None), default=None)

    def datagrams(self) -> list[Outgoing]:
        """What to send now."""
        out, self._out = self._out, []
        return out

    def signals(self) -> list[SignalMessage]:
        """What to send by signal now."""
        out, self._signals = self._signals, []
        return out

    def packets(self) -> list[tuple[PublicKey, Endpoint, bytes]]:
        """WireGuard's packets that rang for peers which have a path now, and where to send them."""
        out, self._packets = self._packets, []
        return out

    def status(self, peer: PublicKey, now: float) -> PathStatus:
        """For people."""
        if (connection := self._connections.get(peer)) is not None:
            found = connection.status(now)
        else:
            found = PathStatus(ConnectionState.IDLE, self._sleepers.since.get(peer, 0.0), "there is no traffic")
        return with_absence(found, self._away.get(peer), now)

    def session(self, peer: PublicKey) -> int:
        """Grows when WireGuard has to forget its session with the peer and shake hands anew."""
        connection = self._connections.get(peer)
        return self._parted[peer] + (connection.session if connection is not None else 0)

    def direct_address(self, peer: PublicKey) -> Address | None:
        """Where the peer is while the direct path to it is in use."""
        return self._direct.get(peer)

    def steady(self, peer: PublicKey) -> Endpoint | Asleep | None:
        """Where WireGuard is to send whatever it has learned; None where it has to learn it."""
        endpoint, connection = self.endpoints.get(peer), self._connections.get(peer)
        if connection is None:
            return endpoint
        target = connection.target()
        return target if target == endpoint or peer in self._direct else None

    @property
    def connected(self) -> int:
        """How many peers are connected."""
        return sum(connection.is_connected for connection in self._connections)

    def mtu(self, peer: PublicKey) -> int | None:
        """Bytes of the largest packet that the peer's direct path carries, where that is less than the interface's."""
        connection = self._connections.get(peer)
        return connection.mtu if connection is not None else None

    @property
    def needs_turn(self) -> bool:
        """Whether there is a peer that no relay of the mesh reaches, and no direct path."""
        return any(each.relay is None and each.other not in self._direct for each in self._connections)

    @property
    def public_addresses(self) -> list[Address]:
        """Our port's addresses as STUN servers see them."""
        return self._local.mapped

    # -- inside ------------------------------------------------------------------------------------------------

    def _connect(self, key: PublicKey, now: float, *, is_called: bool = False) -> PeerConnection:
        self._tokens += 1
        connection = PeerConnection(
            self._own,
            key,
            token=self._tokens.to_bytes(4),
            entropy=self._entropy,
            options=self.options,
            refuse=self._is_refused,
            now=now,
        )
        self._sleepers.wake(key, now)
        self._connections.add(connection)
        self.relays_changed = True
        connection.set_local(self._local.candidates, self._local.listen_port, now, moved=False)
        connection.set_relays(self._own_relays, now)
        connection.signal_ready(self._signal_ready, now, is_called=is_called)
        self._drain(connection)
        return connection

    def _part_from(self, key: PublicKey, ufrag: str, now: float) -> None:
        """A peer's agent ends: nothing leads there until it comes back, or is called."""
        connection = self._connections.get(key)
        if key not in self.peers or (connection is not None and not connection.is_with(ufrag)):
            return  # it is told late: another agent with this key is there already
        self._away[key] = now
        self._parted[key] += 1
        if connection is not None and self._may_sleep(key):
            self._put_to_sleep(key, now)
        elif connection is not None:
            self._end(key)
            self._connect(key, now, is_called=True)

    def _end(self, key: PublicKey) -> None:
        self._connections.remove(key)
        for table in (self._direct, self._mtus, self._taken):
            table.pop(key, None)
        self.retaken.discard(key)
        self.relays_changed |= self.turned.pop(key, None) is not None
        self.relays_changed |= self.relays.pop(key, None) is not None

    def _drain(self, connection: PeerConnection) -> None:
        """After every call of a connection."""
        self._out += connection.datagrams()
        self._signals += connection.signals
        connection.signals.clear()
        key = connection.other
        self._set_endpoint(key, connection)
        self.relays_changed |= put(self.relays, key, connection.relay)
        self.relays_changed |= put(self._direct, key, connection.direct_address)
        self.relays_changed |= put(self.turned, key, connection.through)
        self.endpoints_changed |= put(self._mtus, key, connection.mtu)
        if put(self._taken, key, connection.where.taken):
            self.retaken.add(key)
        self._connections.plan(connection)

    def _set_endpoint(self, key: PublicKey, connection: PeerConnection) -> None:
        wanted: Endpoint | Asleep | None = connection.where.endpoint
        if wanted is None and key in self._sleepers:
            wanted = Asleep(self._sleepers.number(key))  # until there is a path, every packet rings
        elif wanted is None and connection.controlling:
            self.endpoints_changed |= key in self.endpoints
            self.endpoints.pop(key, None)
            return
        if key not in self.endpoints or self.endpoints[key] != wanted:
            self.endpoints[key] = wanted
            self.endpoints_changed = True
        if (path := connection.target()) is not None and (packet := self._sleepers.packets.pop(key, None)) is not None:
            # Only the side that begins shakes hands: of two handshakes that cross each other, none comes to an end.
            self._packets += [(key, path, packet)] if connection.controlling or not is_initiation(packet) else []

    def _after_local(self, now: float, *, moved: bool = False) -> None:
        self._out += self._local.datagrams()
        if not self._local.changed:
            return
        self._local.changed = False
        for connection in self._connections:
            connection.set_local(self._local.candidates, self._local.listen_port, now, moved=moved)
            self._drain(connection)

    def _is_refused(self, address: Address) -> bool:
        return self._local.refuses(address, self._overlay, ipv6=self.options.ipv6)
