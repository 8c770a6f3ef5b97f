"""One agent on a simulated host: what ``meshloom_agent.engine`` is to the real world, in virtual time."""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network

import attrs

from meshloom.model.keys import PublicKey
from meshloom.protocol.signal import SignalMessage
from meshloom.protocol.stun import MAGIC_COOKIE, Address
from meshloom.testing.lab import Exchange, Host, Lab, SimulatedWireGuard, UdpPort
from meshloom.testing.lab.wireguard import DATA, HEADER, WireGuardPeer
from meshloom_agent.mesh import Asleep, Endpoint, Mesh, MeshOptions, PathStatus, RemotePeer, Way
from meshloom_agent.testing.relays import Relays, SimulatedRelays

PORT = 51820
KEEPALIVE = 25.0
LOOK_EVERY = 30.0
NOTICE = 0.05
"""Seconds from a change of addresses to the agent's knowing it."""

LATE = 0.05
"""Seconds from a packet that comes by a path which was left to WireGuard's being led back."""

VERSION = "0.77.1"
DOORBELL = "127.64.0.0"

PING, PONG = b"ping", b"pong"


class SimulatedAgent:
    """An agent that can be started, crashed and moved.

    Args:
        number: Makes its key and its overlay address.
    """

    def __init__(
        self,
        lab: Lab,
        exchange: Exchange[PublicKey, SignalMessage],
        host: Host,
        *,
        number: int,
        stuns: Sequence[Address],
        relays: Relays | None = None,
        lazy: bool = False,
        options: MeshOptions | None = None,
    ) -> None:
        self.key = PublicKey.of(lab.random.randbytes(32))
        self.host, self.number, self.stuns = host, number, list(stuns)
        self.known: dict[PublicKey, int] = {}
        """The peers of its network map, and their numbers."""
        self.answered: dict[PublicKey, float] = {}
        """When each peer last answered a ping."""
        self.after_each_step: Callable[[SimulatedAgent], None] = lambda _: None
        self.observe_packet: Callable[[SimulatedAgent, bytes, Address], None] = lambda *_: None
        """Called with what arrives at its WireGuard, and from where."""
        self._lab, self._exchange, self._options = lab, exchange, options
        self._all_relays, self._lazy = relays or {}, lazy
        self._relay_urls = list(self._all_relays)
        self._runs = self._serial = 0
        self._wake: float | None = None
        self._port: UdpPort | None = None
        self.mesh = Mesh(self.key, lab.random.randbytes, options)
        self.wireguard = self._new_wireguard()
        self.relays = self._new_relays()

    # -- life --------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not crashed since."""
        return self._port is not None

    def start(self) -> None:
        """With its key and its last map, and no other memory."""
        self._runs += 1
        self._wake = None
        self.mesh = Mesh(self.key, self._lab.random.randbytes, self._options)
        self.wireguard = self._new_wireguard()
        self.relays = self._new_relays()
        self._port = self.host.bind(PORT, self._receive)
        self.mesh.set_overlay([ip_network("100.64.0.0/10")])
        self.mesh.set_lazy(self._lazy, self._now)
        self._apply_map()
        self.mesh.set_local(self.host.addresses, PORT, self._now)
        self.mesh.set_servers(self.stuns, self._now)
        self.relays.set_servers(self._relay_urls, self._now)
        self._exchange.join(self.key, self._receive_signal, self._signal_ready)
        self._look()
        self._flush()

    def stop(self) -> None:
        """Ends as the daemon does when it is told to: those that are connected hear of it."""
        for message in self.mesh.farewell():
            self._exchange.send(message.other, attrs.evolve(message, other=self.key))
        self.crash()

    def crash(self) -> None:
        """Gone at once, its tunnel with it."""
        if self._port is not None:
            self._port.close()
            self._port = None
        self._runs += 1
        self.wireguard.close()
        self.relays.close()
        self._exchange.leave(self.key)

    def take_map(self, peers: Iterable["SimulatedAgent"], serial: int) -> None:
        """A network map; one older than the last is not applied."""
        if serial < self._serial:
            return
        self._serial = serial
        self.known = {peer.key: peer.number for peer in peers if peer is not self}
        if self.is_running:
            self._apply_map()
            self._flush()

    def take_relays(self, urls: Sequence[str]) -> None:
        """Those that management tells of, best first."""
        self._relay_urls = list(urls)
        if self.is_running:
            self.relays.set_servers(self._relay_urls, self._now)
            self._flush()

    def moved(self) -> None:
        """Its host's addresses have changed; it notices a moment later."""
        self._later(NOTICE, self._notice)

    # -- what can be asked of it -------------------------------------------------------------------------------

    def path_to(self, other: "SimulatedAgent") -> PathStatus:
        """As ``meshloom status`` shows it."""
        return self.mesh.status(other.key, self._now)

    def is_connected(self, other: "SimulatedAgent") -> bool:
        """Whether it says so."""
        return self.is_running and other.key in self.known and self.path_to(other).state == "Connected"

    def ping(self, other: "SimulatedAgent") -> None:
        """One, through WireGuard; ``answered`` tells when the answer came."""
        if self.is_running:
            self.wireguard.send(other.key, PING)

    def settle(self) -> None:
        """After something was told to ``mesh`` from outside."""
        self._flush()

    # -- what happens to it ------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self._lab.clock.now

    def _new_wireguard(self) -> SimulatedWireGuard:
        return SimulatedWireGuard(self._lab.clock, self._lab.random, self.key, self._send, self._deliver)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        run = self._runs

        def due() -> None:
            if run == self._runs and self.is_running:
                action()
                self._flush()

        self._lab.clock.call_in(seconds, due)

    def _new_relays(self) -> SimulatedRelays:
        return SimulatedRelays(
            self._all_relays,
            self.host,
            self.key,
            self.mesh,
            receive=self._receive_packet,
            came_late=self._came_late,
            later=self._later,
            flush=self._flush,
            random=self._lab.random.random,
        )

    def _send(self, data: bytes, destination: Address) -> None:
        if destination[0] == DOORBELL:
            if data[:4] == DATA and len(data) == HEADER:
                return  # as the mesh knows it by a real one's size
            self._later(0.0, lambda: self.mesh.rung(destination[1], data, self._now))
        elif self._port is not None and not self.relays.send(data, destination):
            self._port.send(data, destination)

    def _receive(self, data: bytes, source: Address) -> None:
        if data[4:8] == MAGIC_COOKIE:
            self.mesh.receive_datagram(data, source, self._now)
            self._flush()
        else:
            self._receive_packet(data, source)

    def _receive_packet(self, data: bytes, source: Address) -> None:
        self.observe_packet(self, data, source)
        self.wireguard.receive(data, source)

    def _deliver(self, sender: PublicKey, payload: bytes) -> None:
        if payload == PING:
            self.wireguard.send(sender, PONG)
        else:
            self.answered[sender] = self._now

    def _receive_signal(self, message: SignalMessage) -> None:
        self.mesh.receive_signal(message, self._now)
        self._flush()

    def _signal_ready(self, ready: bool) -> None:
        self.mesh.signal_ready(ready, self._now)
        self._flush()

    def _notice(self) -> None:
        self.relays.moved()
        self.mesh.set_local(self.host.addresses, PORT, self._now)

    def _look(self) -> None:
        if self.mesh.needs_look:
            self.mesh.set_traffic(self.wireguard.traffic(), self._now)
            self.mesh.set_handshakes(self.wireguard.handshakes(), self._now)
        for peer in self.known:
            if self.mesh.direct_address(peer) is None:
                self._came_late(peer)
        self._later(LOOK_EVERY, self._look)

    def _came_late(self, peer: PublicKey) -> None:
        """WireGuard may have been led away by a packet that came by another path."""
        self._later(LATE, lambda: self._lead_back(peer))

    def _lead_back(self, peer: PublicKey) -> None:
        if (address := self._address(peer, self.mesh.steady(peer))) is not None:
            self.wireguard.set_endpoint(peer, address)

    def _address(self, peer: PublicKey, endpoint: Endpoint | Asleep | None) -> Address | None:
        """There are no TURN servers in the simulated network."""
        if isinstance(endpoint, Asleep):
            return DOORBELL, endpoint.number
        if endpoint is Way.RELAYED:
            return self.relays.endpoint(peer)
        return endpoint if isinstance(endpoint, tuple) else None

    def _apply_map(self) -> None:
        self.mesh.set_peers(
            {
                key: RemotePeer((ip_network(f"100.64.{number >> 8}.{number & 255}/32"),), version=VERSION)
                for key, number in self.known.items()
            },
            self._now,
        )

    # -- what it does ------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """After every call of the mesh, as the engine does."""
        mesh = self.mesh
        self.relays.settle(self._now)
        for data, destination, _ in mesh.datagrams():
            self._send(data, destination)
        for peer, endpoint, packet in mesh.packets():
            address = self._address(peer, endpoint)
            if address is not None:
                self._send(packet, address)
        for message in mesh.signals():
            self._exchange.send(message.other, attrs.evolve(message, other=self.key))
        if mesh.endpoints_changed:
            mesh.endpoints_changed = False
            self.wireguard.apply(
                {
                    key: WireGuardPeer(
                        self._address(key, endpoint),
                        None if endpoint is None or isinstance(endpoint, Asleep) else KEEPALIVE,
                        mesh.session(key),
                    )
                    for key, endpoint in mesh.endpoints.items()
                }
            )
        for peer in mesh.retaken:
            self._came_late(peer)
        mesh.retaken.clear()
        self._plan()
        self.after_each_step(self)

    def _plan(self) -> None:
        due = self.mesh.deadline()
        if due is None or (self._wake is not None and self._now < self._wake <= due):
            return
        self._wake = due

        def wake() -> None:
            if self._wake == due:
                self._wake = None
                self.mesh.handle_timer(self._now)

        self._later(max(0.0, due - self._now), wake)
