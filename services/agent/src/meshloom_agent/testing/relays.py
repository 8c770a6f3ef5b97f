"""An agent's connections to relays in virtual time: what the driver of real transports is to the real world."""

from collections.abc import Callable, Mapping, Sequence

from meshloom.model.keys import PublicKey
from meshloom.protocol.stun import Address
from meshloom.testing.lab import Host, RelayConnection, RelayServer
from meshloom_agent.backoff import Backoff
from meshloom_agent.mesh import HomeRelay, Mesh, RelayPlan, exchange
from meshloom_agent.relays.links import FIRST_RETRY, LONGEST_RETRY

Relays = Mapping[str, RelayServer[PublicKey]]

LOOPBACK = "127.0.0.1"
FIRST_PORT = 20_000


class SimulatedRelays:
    """The relayed paths of one run of an agent; to WireGuard each is an endpoint on the loopback.

    Args:
        receive: Gets WireGuard's packets, each with the endpoint that it comes from.
        came_late: Gets the peer of each that came while its direct path is in use: WireGuard followed it.
        later: Plans an action of this run.
        random: From 0 to 1.
        flush: To be called after everything that happens.
    """

    def __init__(
        self,
        relays: Relays,
        host: Host,
        key: PublicKey,
        mesh: Mesh,
        *,
        receive: Callable[[bytes, Address], None],
        came_late: Callable[[PublicKey], None],
        later: Callable[[float, Callable[[], None]], None],
        flush: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self.plan = RelayPlan()
        self._relays, self._host, self._key, self._mesh = relays, host, key, mesh
        self._receive, self._came_late, self._later, self._flush = receive, came_late, later, flush
        self._connections: dict[str, RelayConnection[PublicKey]] = {}
        self._endpoints: dict[PublicKey, Address] = {}
        self._peers: dict[Address, PublicKey] = {}
        self._early: dict[PublicKey, bytes] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._resting: dict[str, int] = {}
        self._random, self._rests = random, 0
        self._due: float | None = None

    # -- what the agent does with it ---------------------------------------------------------------------------

    def set_servers(self, urls: Sequence[str], now: float) -> None:
        """The relays that management tells of."""
        self.plan.set_servers(urls, now, self._relays)

    def settle(self, now: float) -> None:
        """After every call of the mesh."""
        exchange(self._mesh, self.plan, now)
        for url in [url for url in self._connections if url not in self.plan.links]:
            self._connections.pop(url).close()
        for url in [url for url in self._backoffs if url not in self.plan.links]:
            del self._backoffs[url]
            self._resting.pop(url, None)
        for url in self.plan.links:
            if url not in self._connections and url not in self._resting and url in self._relays:
                self._connections[url] = self._relays[url].connect(self._host, self._key, self)
        for url, names in self.plan.subscriptions().items():
            if (connection := self._connections.get(url)) is not None:
                connection.ask(names)
        for name in [name for name in self._early if self.plan.link_of(name) is not None]:
            data = self._early.pop(name)
            self._later(0.0, lambda name=name, data=data: self.relay_received("", name, data))  # type: ignore[misc]
        due = self.plan.deadline()
        if due is not None and due != self._due:
            self._due = due
            self._later(max(0.0, due - now), self._wake)

    def moved(self) -> None:
        """The host's addresses are others: no connection survives that."""
        for url in list(self._connections):
            self._connections.pop(url).close()
            self.plan.link_down(url, "the network has changed", self._now)
        self._resting.clear()

    def close(self) -> None:
        """The run is over."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def endpoint(self, peer: PublicKey) -> Address:
        """What WireGuard is told for a peer's packets to go through the relay."""
        if peer not in self._endpoints:
            address = self._endpoints[peer] = (LOOPBACK, FIRST_PORT + len(self._endpoints))
            self._peers[address] = peer
        return self._endpoints[peer]

    def peer(self, endpoint: Address) -> PublicKey | None:
        """Whose such an endpoint is."""
        return self._peers.get(endpoint)

    def send(self, data: bytes, destination: Address) -> bool:
        """WireGuard's packet to such an endpoint; False for any other."""
        peer = self._peers.get(destination)
        if peer is None:
            return destination[0] == LOOPBACK
        connection = self._connections.get(self.plan.link_of(peer) or "")
        if connection is not None:
            connection.send(peer, data)
        return True

    # -- what relays tell --------------------------------------------------------------------------------------

    def relay_up(self, url: str) -> None:
        """Connected."""
        self._backoffs.pop(url, None)
        self.plan.link_up(url, HomeRelay(url), self._now)
        self._flush()

    def relay_down(self, url: str) -> None:
        """Not connected."""
        self._connections.pop(url, None)
        backoff = self._backoffs.setdefault(url, Backoff(FIRST_RETRY, LONGEST_RETRY, random=self._random))
        self._rests += 1
        rest = self._resting[url] = self._rests
        self.plan.link_down(url, f"the relay {url} is not reached", self._now)
        self._later(backoff.next(), lambda: self._rested(url, rest))
        self._flush()

    def relay_online(self, url: str, name: PublicKey, *, online: bool) -> None:
        """A peer came or went."""
        (self.plan.peer_online if online else self.plan.peer_offline)(url, name, self._now)
        self._flush()

    def relay_received(self, url: str, name: PublicKey, data: bytes) -> None:  # noqa: ARG002 - one peer, one path
        """A packet of a peer."""
        if self.plan.link_of(name) is None:
            self._early.setdefault(name, data)  # as the protocol's client does until the peer was asked for
        else:
            self._receive(data, self.endpoint(name))
            if self._mesh.direct_address(name) is not None:
                self._came_late(name)

    # -- inside ------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return next(iter(self._relays.values())).clock.now

    def _rested(self, url: str, rest: int) -> None:
        if self._resting.get(url) == rest:
            del self._resting[url]

    def _wake(self) -> None:
        self._due = None
        self.plan.handle_timer(self._now)
