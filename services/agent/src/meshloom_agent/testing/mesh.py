"""A whole mesh in the simulated network: agents, signal, STUN, and maps that reach agents one after another."""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

from meshloom.model.keys import PublicKey
from meshloom.protocol.signal import SignalMessage
from meshloom.testing.lab import Conditions, Exchange, Host, Lab, RelayServer, StunServer
from meshloom_agent.mesh import MeshOptions
from meshloom_agent.testing.agent import SimulatedAgent


class SimulatedMesh:
    """An account whose agents may all reach each other, on a :class:`~meshloom.testing.lab.Lab`."""

    def __init__(
        self,
        seed: int = 0,
        conditions: Conditions | None = None,
        *,
        ipv6: bool = False,
        options: MeshOptions | None = None,
        relays: int = 0,
        lazy: bool = False,
    ) -> None:
        self.lab = Lab(seed, conditions, ipv6=ipv6)
        self.clock = self.lab.clock
        self.exchange: Exchange[PublicKey, SignalMessage] = Exchange(self.clock)
        self.stun = StunServer(self.lab.internet.host("stun"))
        self.relays: dict[str, RelayServer[PublicKey]] = {}
        for number in range(relays):
            url = f"rel://relay{number}.example"
            self.relays[url] = RelayServer(self.clock, self.lab.internet.host(f"relay{number}"), url)
        self.agents: list[SimulatedAgent] = []
        self.map_delay = 0.1
        """Seconds, at the most, until an agent has a new map."""
        self._options, self._lazy = options, lazy
        self._numbers = self._serial = 0

    def agent(self, host: Host, watch: Callable[[SimulatedAgent], None] = lambda _: None) -> SimulatedAgent:
        """A new agent of the account, started; the others are told. *watch* gets it before it starts."""
        self._numbers += 1
        agent = SimulatedAgent(
            self.lab,
            self.exchange,
            host,
            number=self._numbers,
            stuns=[self.stun.address],
            relays=self.relays,
            lazy=self._lazy,
            options=self._options,
        )
        watch(agent)
        self.agents.append(agent)
        agent.take_map(self.agents, self._serial)
        agent.start()
        self.tell(each for each in self.agents if each is not agent)
        return agent

    def remove(self, agent: SimulatedAgent) -> None:
        """Delete an agent from the account: it and the others are told."""
        self.agents.remove(agent)
        self.tell(self.agents)
        self._tell_later(agent, [])

    def admit(self, agent: SimulatedAgent) -> None:
        """Take one back that was deleted."""
        self.agents.append(agent)
        self.tell(self.agents)

    def tell(self, agents: Iterable[SimulatedAgent]) -> None:
        """Send the map of now to *agents*."""
        for each in list(agents):
            self._tell_later(each, list(self.agents))

    def pairs(self) -> Iterator[tuple[SimulatedAgent, SimulatedAgent]]:
        """Each two agents of the account."""
        return combinations(self.agents, 2)

    def are_connected(self, one: SimulatedAgent, other: SimulatedAgent) -> bool:
        """Whether both say so."""
        return one.is_connected(other) and other.is_connected(one)

    def time_to_connect(self, one: SimulatedAgent, other: SimulatedAgent, *, within: float) -> float:
        """Seconds until both are connected.

        Raises:
            AssertionError: They are not in time.
        """
        return self.clock.run_until(lambda: self.are_connected(one, other), within=within)

    def time_to_ping(self, one: SimulatedAgent, other: SimulatedAgent, *, within: float) -> float:
        """Seconds from the first of one's pings, of which there is one each second, to the other's answer.

        Raises:
            AssertionError: None comes in time.
        """
        began = self.clock.now

        def is_answered() -> bool:
            return one.answered.get(other.key, -1.0) >= began

        def ping() -> None:
            if not is_answered() and self.clock.now < began + within:
                one.ping(other)
                self.clock.call_in(1.0, ping)

        ping()
        return self.clock.run_until(is_answered, within=within)

    def _tell_later(self, agent: SimulatedAgent, agents: list[SimulatedAgent]) -> None:
        self._serial += 1
        serial = self._serial
        self.clock.call_in(self.map_delay * self.lab.random.random(), lambda: agent.take_map(agents, serial))
