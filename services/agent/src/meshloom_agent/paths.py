"""Between the mesh, which is pure, and the world: WireGuard's port, relays, signal, time."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import anyio
from anyio.abc import TaskGroup

from meshloom.errors import TunnelError
from meshloom.model.keys import PresharedKey, PublicKey
from meshloom.protocol.relay import RelayPeerID
from meshloom.protocol.signal import SignalMessage
from meshloom.protocol.stun import is_stun
from meshloom.tunnel import Address, Carrier, Doorbell, Tunnel, TunnelPeer
from meshloom_agent.aims import Aims
from meshloom_agent.border import Border
from meshloom_agent.mesh import Asleep, Endpoint, Mesh, RelayPlan, RemotePeer, ThroughTurn, Way, exchange
from meshloom_agent.network import ToldRelays
from meshloom_agent.port_mapping import PortMapper
from meshloom_agent.relays import EarlyHandshakes, NamedTransport, RelayedPath, RelayLinks
from meshloom_agent.report import RelayReport
from meshloom_agent.turn import TurnClient

_log = logging.getLogger(__name__)

KEEPALIVE = timedelta(seconds=25)
LATE = 0.05
"""Seconds in which packets that come by a path that was left are gathered."""
WIRES = {"picows": "ws", "websocket": "ws"}
"""What people call the wire of a transport, where that is not its name."""


class Paths:
    """Call :meth:`flush` after every call of ``mesh`` or ``plan``; enter :meth:`start` with the tunnel.

    Args:
        send: Sends a message by signal.
        apply: Called when ``tunnel_peers`` has changed.
        relays_changed: Called when ``relay_reports`` has.
        port_mapping: Whether the router is asked to hand WireGuard's port on to us.
        border: Checks where servers are.
    """

    def __init__(
        self,
        mesh: Mesh,
        own: PublicKey,
        transports: Sequence[NamedTransport],
        send: Callable[[SignalMessage], None],
        apply: Callable[[], None],
        *,
        relays_changed: Callable[[], None],
        extra_roots: bytes = b"",
        port_mapping: bool = False,
        border: Border | None = None,
    ) -> None:
        self.mesh, self.plan = mesh, RelayPlan()
        self.links = RelayLinks(
            self.plan,
            own,
            transports,
            tokens=lambda: self._told.tokens,
            packets=self._relayed_packet,
            changed=self._links_changed,
            locate=border.relay if border is not None else None,
        )
        find = border.addresses if border is not None else None
        self.turn = TurnClient(self._turn_received, self._turn_changed, extra_roots, find)
        self.mapper = PortMapper(self._port_mapped) if port_mapping else None
        self._turned: dict[ThroughTurn, tuple[PublicKey, Carrier]] = {}
        self._send, self._apply, self._relays_changed = send, apply, relays_changed
        self._tunnel: Tunnel | None = None
        self._doorbell: Doorbell | None = None
        self._told = ToldRelays()
        self._links_news = False
        self._relayed: dict[RelayPeerID, RelayedPath] = {}
        self._early = EarlyHandshakes()
        self._late: set[PublicKey] = set()
        self._aims = Aims()
        self._led_astray = anyio.Event()
        self._timer = anyio.Event()
        self._made: dict[PublicKey, tuple[RemotePeer, Endpoint | Asleep | None, int, int | None, TunnelPeer]] = {}

    def start(self, tunnel: Tunnel, tasks: TaskGroup) -> None:
        """From now on there is a tunnel; the tasks end with their group."""
        self._tunnel = tunnel
        if not tunnel.capabilities.carries:
            _log.warning("this tunnel has no paths through relays: only direct ones are used")
            self.plan.set_servers([], anyio.current_time())
        if not tunnel.capabilities.rings:
            self.mesh.set_lazy(False, anyio.current_time())
        for task in (self._run_timers, self._read_port, self._lead_back, self.links.run, self.turn.run):
            tasks.start_soon(task)
        if self.mapper is not None:
            tasks.start_soon(self.mapper.run)

    def close(self) -> None:
        """The tunnel is about to go."""
        for path in self._relayed.values():
            path.close()
        self._relayed.clear()

    def set_relays(self, urls: Sequence[str], told: ToldRelays) -> None:
        """The relays to be at home at, and what management says of relays."""
        before, self._told = self._told, told
        if told.tokens != before.tokens:
            self.links.tokens_changed()
        can_carry = self._tunnel is None or self._tunnel.capabilities.carries
        self.plan.set_servers(urls if told.tokens.classic and can_carry else [], anyio.current_time(), told.known)
        self.flush()

    def set_lazy(self, lazy: bool) -> None:
        """Whether peers sleep until there is traffic, where the tunnel can wait for it."""
        can_ring = self._tunnel is None or self._tunnel.capabilities.rings
        self.mesh.set_lazy(lazy and can_ring, anyio.current_time())
        self.flush()

    def network_changed(self) -> None:
        """Addresses of this host are others: connections may be dead without a word."""
        self.links.renew()
        self.turn.renew()
        if self.mapper is not None:
            self.mapper.renew()

    # -- after every call of the mesh --------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what is to be sent, and have what is to be there."""
        mesh, now = self.mesh, anyio.current_time()
        if exchange(mesh, self.plan, now) or self._links_news:
            self._links_news = False
            self.links.settle()
            self._settle_relayed()
            self._settle_turned()
            self.turn.need(mesh.needs_turn)
            self._relays_changed()
        if self._tunnel is not None:
            for data, destination, via in mesh.datagrams():
                if via is None:
                    self._tunnel.port.send(data, destination)
                else:
                    self.turn.send(data, destination, via)
        for peer, endpoint, packet in mesh.packets():
            self._send_packet(peer, endpoint, packet)
        for message in mesh.signals():
            self._send(message)
        if mesh.endpoints_changed:
            mesh.endpoints_changed = False
            self._apply()
        if mesh.retaken:
            self._late |= mesh.retaken
            mesh.retaken.clear()
            self._led_astray.set()
        self._timer.set()

    def tunnel_peers(self, preshared: PresharedKey | None) -> dict[PublicKey, TunnelPeer]:
        """What WireGuard shall have. What did not change stays the same object: the difference is found at a glance."""
        before, self._made = self._made, {}
        for key, endpoint in self.mesh.endpoints.items():
            remote, session, mtu = self.mesh.peers[key], self.mesh.session(key), self.mesh.mtu(key)
            old = before.get(key)
            if old is not None and old[0] is remote and old[1:4] == (endpoint, session, mtu):
                self._made[key] = old
                continue
            _log.debug("%s is reached by %s", key.text, endpoint)
            made = TunnelPeer(
                frozenset(remote.allowed_ips),
                self._address(key, endpoint),
                None if endpoint is None or isinstance(endpoint, Asleep) else KEEPALIVE,
                preshared,
                session,
                mtu,
            )
            self._made[key] = remote, endpoint, session, mtu, made
        return {key: made for key, (*_, made) in self._made.items()}

    def relay_reports(self) -> tuple[RelayReport, ...]:
        """The relays that we are, or should be, connected to; home first."""
        made = []
        for url, error in self.links.errors.items():
            session = self.links.session(url)
            transport = session.connection.transport if session is not None and session.connection is not None else ""
            made.append(RelayReport(url, bool(transport), "" if transport else error, WIRES.get(transport, transport)))
        made.sort(key=lambda each: each.uri != self.plan.home_url)
        made += [RelayReport(uri, not error, error) for uri, error in self.turn.errors.items()]
        return tuple(made)

    def transport_to(self, peer: PublicKey) -> str:
        """What carries a relayed peer's packets to its relay."""
        session = self.links.session(self.plan.link_of(peer))
        transport = session.connection.transport if session is not None and session.connection is not None else ""
        return WIRES.get(transport, transport)

    @property
    def _running(self) -> Tunnel:
        if self._tunnel is None:
            raise TunnelError("there is no tunnel")
        return self._tunnel

    # -- relays ---------------------------------------------------------------------------------------------

    def _address(self, peer: PublicKey, endpoint: Endpoint | Asleep | None) -> Address | None:
        if isinstance(endpoint, Asleep):
            return self._opened_doorbell().endpoint(endpoint.number)
        if endpoint is Way.RELAYED:
            return self._relayed_path(self.links.id_of(peer)).endpoint
        if isinstance(endpoint, ThroughTurn):
            return self._turned_path(peer, endpoint).endpoint
        return endpoint

    def _relayed_path(self, peer: RelayPeerID) -> RelayedPath:
        path = self._relayed.get(peer)
        if path is None:
            path = self._relayed[peer] = RelayedPath(self._running, peer, partial(self._too_long, peer))
        return path

    def _settle_relayed(self) -> None:
        """Each relayed path has the connection that reaches its peer now."""
        if self._tunnel is None:
            return
        mesh, wanted = self.mesh, set()
        for peer in mesh.relays:
            id = self.links.id_of(peer)
            wanted.add(id)
            path = self._relayed_path(id)
            url = self.plan.link_of(peer)
            session = self.links.session(url)
            path.connection = session.connection if session is not None else None
            if path.connection is not None and (early := self._early.release(id)) is not None:
                path.deliver(early)
            was_direct, is_direct = path.late is not None, mesh.direct_address(peer) is not None
            path.late = partial(self._came_late, peer) if is_direct else None
            if was_direct and not is_direct and url is not None:
                self.links.suspect(url)
        for id in self._relayed.keys() - wanted:
            self._relayed.pop(id).close()

    async def put_back(self, *, look_only: bool = False) -> tuple[str, ...]:
        """Leads WireGuard back to where its packets shall go; tells what of that something else has changed.

        A direct address may have changed without our knowing, where WireGuard found that out itself.
        """
        found = await self._running.observed()
        wanted = {peer: address for peer in found if (address := self._steady(peer)) is not None}
        astray = self._aims.compare(wanted, found)
        for peer in astray.roamed:
            if wanted[peer] != self.mesh.direct_address(peer):
                self._came_late(peer)
        for peer in () if look_only else astray.changed:
            self._aims.forget(peer)
            self._came_late(peer)
        count = len(astray.changed)
        return (f"{count} {'peer was' if count == 1 else 'peers were'} reached elsewhere",) if count else ()

    def _steady(self, peer: PublicKey) -> Address | None:
        return self._address(peer, self.mesh.steady(peer))

    def _came_late(self, peer: PublicKey) -> None:
        """A packet came by a path that was left: WireGuard followed it, and has to be led back."""
        self._late.add(peer)
        self._led_astray.set()

    async def _lead_back(self) -> None:
        while True:
            await self._led_astray.wait()
            await anyio.sleep(LATE)
            self._led_astray = anyio.Event()
            late, self._late = self._late, set()
            steady = {peer: address for peer in late if (address := self._steady(peer)) is not None}
            if steady:
                await self._running.set_endpoints(steady)
            # What was decided meanwhile may have been applied before that, and has the last word.
            other = {
                peer: address
                for peer, old in steady.items()
                if self._steady(peer) != old
                and (address := self._address(peer, self.mesh.endpoints.get(peer))) is not None
            }
            if other:
                await self._running.set_endpoints(other)

    def _too_long(self, peer: RelayPeerID, size: int) -> None:
        key = self.links.key_of(peer)
        if key is not None and (url := self.plan.link_of(key)) is not None:
            self.links.too_long(url, size)

    def _links_changed(self) -> None:
        self._links_news = True
        self.flush()

    def _relayed_packet(self, peer: RelayPeerID, payload: bytes | memoryview) -> None:
        path = self._relayed.get(peer)
        answered = path is not None and path.connection is not None
        if not answered and self._early.hold(peer, payload):
            return
        if path is not None:
            path.deliver(payload)

    # -- TURN --------------------------------------------------------------------------------------------------

    def _settle_turned(self) -> None:
        """Each way through a TURN server is open from when its pair is chosen: the peer's handshake may come first.

        One that is not used any more stays as long as its address: what still comes by it is WireGuard's to have.
        """
        if self._tunnel is None:
            return
        for peer, way in self.mesh.turned.items():
            self._turned_path(peer, way)
        for way, (peer, carrier) in list(self._turned.items()):
            if way.via not in self.turn.allocations or peer not in self.mesh.peers:
                del self._turned[way]
                carrier.close()

    def _turned_path(self, peer: PublicKey, way: ThroughTurn) -> Carrier:
        known = self._turned.get(way)
        if known is None:
            carrier = self._running.carry(lambda packet: self.turn.send(packet, way.remote, way.via))
            known = self._turned[way] = peer, carrier
        return known[1]

    def _turn_received(self, data: bytes, source: Address, via: Address) -> None:
        if is_stun(data):
            self.mesh.receive_datagram(data, source, anyio.current_time(), via)
            self.flush()
        elif (known := self._turned.get(ThroughTurn(via, source))) is not None:
            peer, carrier = known
            carrier.deliver(data)
            if self.mesh.direct_address(peer) is not None:
                self._came_late(peer)

    def _turn_changed(self) -> None:
        self.mesh.set_allocations(self.turn.allocations, anyio.current_time())
        self._relays_changed()
        self.flush()

    # -- the router -------------------------------------------------------------------------------------------

    def listens_on(self, port: int) -> None:
        """WireGuard's port, as it is now."""
        if self.mapper is not None:
            self.mapper.follow(port)

    def _port_mapped(self) -> None:
        if self.mapper is not None:
            self.mesh.set_mapped(self.mapper.mapped, anyio.current_time())
            self.flush()

    # -- peers that sleep --------------------------------------------------------------------------------------

    def _opened_doorbell(self) -> Doorbell:
        if self._doorbell is None:
            self._doorbell = self._running.doorbell(self._rung)
        return self._doorbell

    def _rung(self, number: int, packet: bytes) -> None:
        self.mesh.rung(number, packet, anyio.current_time())
        self.flush()

    def _send_packet(self, peer: PublicKey, endpoint: Endpoint, packet: bytes) -> None:
        """One of WireGuard's that waited for a path."""
        if endpoint is Way.RELAYED:
            self._relayed_path(self.links.id_of(peer)).send_packet(packet)
        elif isinstance(endpoint, ThroughTurn):
            self.turn.send(packet, endpoint.remote, endpoint.via)
        elif isinstance(endpoint, tuple) and self._tunnel is not None:
            self._tunnel.port.send(packet, endpoint)

    # -- tasks -------------------------------------------------------------------------------------------------

    async def _run_timers(self) -> None:
        while True:
            self._timer = anyio.Event()
            times = [time for time in (self.mesh.deadline(), self.plan.deadline()) if time is not None]
            now = anyio.current_time()
            if not times or min(times) > now:
                with anyio.move_on_after(min(times) - now if times else None):
                    await self._timer.wait()
                    continue
            now = anyio.current_time()
            self.mesh.handle_timer(now)
            self.plan.handle_timer(now)
            self.flush()

    async def _read_port(self) -> None:
        port = self._running.port
        while True:
            data, source = await port.receive()
            self.mesh.receive_datagram(data, source, anyio.current_time())
            self.flush()
