"""Random schedules: a mesh to which everything happens that happens to meshes, and what must hold nevertheless."""

from collections.abc import Callable
from random import Random

import attrs

from meshloom.model.keys import PublicKey
from meshloom.protocol.signal import SignalMessage
from meshloom.testing.lab import Conditions, Datagram, Network
from meshloom.testing.lab.network import Node
from meshloom_agent.testing.agent import SimulatedAgent
from meshloom_agent.testing.mesh import SimulatedMesh
from meshloom_agent.testing.places import Places

SETTLE = 120.0
"""Virtual seconds after the last disturbance within which all who can reach each other are connected."""
STALE = 15.0
"""Before that, until an agent knows that a path of before is lost."""
PING = 30.0
"""Thereafter, until a ping is answered: a tunnel whose other side was restarted notices after 15 s."""
LEARNT = 10.0
"""Thereafter, until an agent that learns an endpoint from the other's handshake has it."""
QUIET = 60.0
QUIET_DATAGRAMS = 2.0
"""Datagrams a second that an agent of a mesh at rest sends to a connected peer at the most."""
TRYING_DATAGRAMS = 12.0
"""The same in the first minutes for a peer to which there is no direct path, with the answers to its tries."""
HEALTHY = Conditions(delay=0.015, jitter=0.01)
PAUSES = (0.0, 0.01, 0.05, 0.3, 1.0, 5.0, 20.0, 70.0)


class Schedule:
    """One random run; the same seed gives the same one. What happened is told in ``log``."""

    def __init__(self, seed: int, *, agents: int = 4, steps: int = 10) -> None:
        self.seed = seed
        self.log: list[str] = []
        self.random = Random(seed)
        ipv6 = self.random.random() < 0.2
        self.mesh = self._new_mesh(ipv6)
        self.mesh.exchange.observe = self._signalled
        self.places = Places(self.mesh.lab, self.random, ipv6=ipv6)
        self._deleted: list[SimulatedAgent] = []
        self._agents = agents
        self._steps = steps
        self._by_node: dict[Node, SimulatedAgent] = {}
        self._by_key: dict[PublicKey, SimulatedAgent] = {}

    def _new_mesh(self, ipv6: bool) -> SimulatedMesh:
        return SimulatedMesh(self.seed, HEALTHY, ipv6=ipv6)

    @property
    def pauses(self) -> tuple[float, ...]:
        """Virtual seconds from one disturbance to the next."""
        return PAUSES

    # -- the run -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Disturb, heal, and look.

        Raises:
            AssertionError: Something does not hold; the text has the schedule.
        """
        try:
            for _ in range(2):
                self._join()
            for _ in range(self._steps):
                self.mesh.clock.run_for(self.random.choice(self.pauses))
                self._disturb()
            self._heal()
            self._settle()
            self._rest()
        except AssertionError as error:
            raise AssertionError(f"schedule {self.seed}: {error}\n  " + "\n  ".join(self.log)) from error

    def _disturb(self) -> None:
        weights, actions = zip(*self._chances(), strict=True)
        self.random.choices(actions, weights)[0]()

    def _chances(self) -> list[tuple[int, Callable[[], None]]]:
        """What may happen, and how often."""
        return [
            (4, self._join),
            (2, self._remove),
            (1, self._readmit),
            (3, self._crash),
            (4, self._start),
            (4, self._move),
            (2, self._restart_router),
            (2, self._signal),
            (1, self._stun),
            (1, self._management),
            (2, self._part),
            (3, self._worsen),
        ]

    # -- disturbances ------------------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self.log.append(f"{self.mesh.clock.now:9.3f} {text}")

    def _join(self) -> None:
        if len(self.mesh.agents) >= self._agents:
            return
        place = self.random.randrange(len(self.places))
        host = self.places.new_host(place)
        host.observe = self._sent
        self._note(f"{host.name} joins at {self.places.describe(place)}")
        agent = self.mesh.agent(host, self._watch)
        self._note(f"  with the key {agent.key.text[:4]}")

    def _watch(self, agent: SimulatedAgent) -> None:
        self._by_node[agent.host] = self._by_key[agent.key] = agent
        agent.after_each_step = self._check_agent

    def _remove(self) -> None:
        if len(self.mesh.agents) > 2:
            agent = self.random.choice(self.mesh.agents)
            self._note(f"{agent.host.name} is deleted")
            self.mesh.remove(agent)
            self._deleted.append(agent)

    def _readmit(self) -> None:
        if self._deleted and len(self.mesh.agents) < self._agents:
            agent = self._deleted.pop(self.random.randrange(len(self._deleted)))
            self._note(f"{agent.host.name} is admitted again")
            self.mesh.admit(agent)

    def _crash(self) -> None:
        running = [agent for agent in self.mesh.agents if agent.is_running]
        if running:
            agent = self.random.choice(running)
            self._note(f"{agent.host.name} crashes")
            agent.crash()

    def _start(self) -> None:
        for agent in self.mesh.agents:
            if not agent.is_running:
                self._note(f"{agent.host.name} starts")
                agent.start()
                return

    def _move(self) -> None:
        agent = self.random.choice(self.mesh.agents)
        place = self.random.randrange(len(self.places))
        self._note(f"{agent.host.name} moves to {self.places.describe(place)}")
        self.places.move(agent.host, place)
        agent.moved()

    def _restart_router(self) -> None:
        place = self.random.randrange(1, len(self.places))
        if (router := self.places.router(place)) is not None:
            self._note(f"the router of {self.places.describe(place)} forgets all")
            router.restart()

    def _signal(self) -> None:
        up = not self.mesh.exchange.is_up
        self._note(f"signal is {'back' if up else 'away'}")
        self.mesh.exchange.set_up(up)

    def _stun(self) -> None:
        self.mesh.stun.is_up = not self.mesh.stun.is_up
        self._note(f"STUN is {'back' if self.mesh.stun.is_up else 'away'}")

    def _management(self) -> None:
        self.mesh.map_delay = self.random.choice((0.1, 3.0, 30.0))
        self._note(f"maps take up to {self.mesh.map_delay} s")

    def _part(self) -> None:
        addresses = self.places.on_the_internet()
        self.random.shuffle(addresses)
        half = len(addresses) // 2
        self._note(f"the internet is parted: {addresses[:half]} | {addresses[half:]}")
        self._internet.part(addresses[:half], addresses[half:])

    def _worsen(self) -> None:
        conditions = attrs.evolve(
            self._internet.conditions,
            loss=self.random.choice((0.0, 0.1, 0.3, 1.0)),
            jitter=self.random.choice((0.01, 0.01, 0.3)),
            duplication=self.random.choice((0.0, 0.0, 0.3)),
        )
        self._note(f"the internet: {conditions}")
        self._internet.conditions = conditions

    def _heal(self) -> None:
        self._note("all heals")
        self._internet.part()
        self._internet.conditions = HEALTHY
        self.mesh.exchange.set_up(True)
        self.mesh.stun.is_up = True
        self.mesh.map_delay = 0.1
        self.mesh.tell(self.mesh.agents)
        for agent in self.mesh.agents:
            if not agent.is_running:
                agent.start()

    @property
    def _internet(self) -> Network:
        return self.mesh.lab.internet.network

    # -- what must hold in the end -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """All that can reach each other do, and both know it."""
        self.mesh.clock.run_for(STALE)
        pairs = [pair for pair in self.mesh.pairs() if self._are_direct(*pair)]
        waiting = list(pairs)

        def is_settled() -> bool:
            waiting[:] = [pair for pair in waiting if not self.mesh.are_connected(*pair)]
            return not waiting

        try:
            self.mesh.clock.run_until(is_settled, within=SETTLE)
        except AssertionError:
            raise AssertionError(f"not connected: {self._names(waiting)}") from None
        for one, other in pairs:
            for pinging, pinged in ((one, other), (other, one)):
                self._ping(pinging, pinged)

    def _ping(self, one: SimulatedAgent, other: SimulatedAgent, within: float = PING) -> None:
        try:
            self.mesh.time_to_ping(one, other, within=within)
        except AssertionError:
            raise AssertionError(f"connected, but no ping passes: {self._names([(one, other)])}") from None

    def _rest(self) -> None:
        """Nothing changes any more, and little is sent."""
        self.mesh.clock.run_for(LEARNT)
        pairs = [pair for pair in self.mesh.pairs() if self._are_direct(*pair)]
        before = {agent: (agent.host.sent, dict(agent.mesh.endpoints)) for agent in self.mesh.agents}
        self.mesh.clock.run_for(QUIET)
        for agent, (sent, _) in before.items():
            rate = (agent.host.sent - sent) / QUIET
            most = sum(
                QUIET_DATAGRAMS if agent.is_connected(other) else TRYING_DATAGRAMS
                for other in self.mesh.agents
                if other is not agent
            )
            assert rate <= most, f"{agent.host.name} sends {rate:.1f} datagrams a second, not {most:.0f}"
        for one, other in pairs:
            assert self.mesh.are_connected(one, other), f"fell apart at rest: {self._names([(one, other)])}"
            same = before[one][1].get(other.key) == one.mesh.endpoints.get(other.key)
            assert same, f"the path changed at rest: {self._names([(one, other)])}"

    def _are_direct(self, one: SimulatedAgent, other: SimulatedAgent) -> bool:
        return self.places.are_direct(one.host, other.host)

    def _names(self, pairs: list[tuple[SimulatedAgent, SimulatedAgent]]) -> str:
        return ", ".join(
            f"{one.host.name} ({one.path_to(other).reason}) and {other.host.name} ({other.path_to(one).reason})"
            for one, other in pairs
        )

    # -- what must hold at each step ---------------------------------------------------------------------------

    def _check_agent(self, agent: SimulatedAgent) -> None:
        """No key is installed for a peer that is not in the map."""
        if agent.is_running:
            assert agent.wireguard.peers <= agent.known.keys(), f"{agent.host.name} has a key that its map has not"

    def _sent(self, datagram: Datagram) -> None:
        """No datagram is sent to a peer outside the map: not to where one is, through whatever router."""
        sender, host = self._by_node.get(datagram.origin), self.mesh.lab.owner(datagram.destination)
        receiver = self._by_node.get(host) if host is not None else None
        if sender is not None and receiver is not None and receiver is not sender:
            assert receiver.key in sender.known, f"{sender.host.name} sends to {receiver.host.name}, not in its map"

    def _signalled(self, receiver: PublicKey, message: SignalMessage) -> None:
        """No message is sent to one either."""
        sender = self._by_key[message.other]
        assert receiver in sender.known, f"{sender.host.name} signals {receiver.text[:4]}, not in its map"
