"""Random schedules: a mesh to which everything happens that happens to meshes, and what must hold nevertheless."""

from collections.abc import Callable
from random import Random

import attrs

from meshloom.testing.lab import BEHAVIOURS, OPEN, Conditions, Datagram, Host, Nat, Network, can_be_direct
from meshloom.testing.lab.lab import Site
from meshloom.testing.lab.network import Node
from meshloom_agent.testing.agent import SimulatedAgent
from meshloom_agent.testing.mesh import MAP_DELAY, SimulatedMesh

SETTLE = 150.0
"""Virtual seconds after the last disturbance within which all is well again."""
LEARNT = 10.0
"""Thereafter, until an agent that learns an endpoint from the other's handshake has it."""
QUIET = 60.0
QUIET_DATAGRAMS = 2.0
"""Datagrams a second that an agent of a mesh at rest sends to a connected peer at the most."""
TRYING_DATAGRAMS = 8.0
"""The same in the first minutes for a peer to which there is no direct path, with the answers to its tries."""
UNDER_WAY = 0.5
"""Seconds for which a datagram sent before an agent knew that a peer is gone may still arrive."""


class Schedule:
    """One random run; the same seed gives the same one. *steps* are told in ``log``."""

    def __init__(self, seed: int, *, agents: int = 4, steps: int = 10) -> None:
        self.seed = seed
        self.log: list[str] = []
        self.random = Random(seed)
        self.mesh = SimulatedMesh(seed, Conditions(delay=0.015, jitter=0.01))
        self._places: list[tuple[Site, Nat]] = self._make_places()
        self._where: dict[Host, int] = {}
        self._agents = agents
        self._steps = steps
        self._by_host: dict[Node, SimulatedAgent] = {}
        self._forgotten: dict[tuple[SimulatedAgent, SimulatedAgent], float] = {}

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
                self.mesh.clock.run_for(self.random.choice((0.0, 0.05, 0.3, 1.0, 5.0, 20.0, 70.0)))
                self._disturb()
            self._heal()
            self._settle()
            self._rest()
        except AssertionError as error:
            raise AssertionError(f"schedule {self.seed}: {error}\n  " + "\n  ".join(self.log)) from error

    def _disturb(self) -> None:
        chances: list[tuple[int, Callable[[], None]]] = [
            (4, self._join),
            (2, self._remove),
            (3, self._crash),
            (4, self._start),
            (4, self._move),
            (2, self._restart_router),
            (2, self._signal),
            (1, self._stun),
            (2, self._part),
            (2, self._lose),
        ]
        weights, actions = zip(*chances, strict=True)
        self.random.choices(actions, weights)[0]()

    # -- disturbances ------------------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self.log.append(f"{self.mesh.clock.now:9.3f} {text}")

    def _join(self) -> None:
        if len(self.mesh.agents) >= self._agents:
            return
        place = self.random.randrange(len(self._places))
        host = self._places[place][0].host()
        self._where[host] = place
        host.observe = self._arrived
        self._note(f"{host.name} joins at {self._describe(place)}")
        agent = self.mesh.agent(host)
        self._by_host[host] = agent
        agent.after_each_step = self._check_agent

    def _remove(self) -> None:
        if len(self.mesh.agents) > 2:
            agent = self.random.choice(self.mesh.agents)
            self._note(f"{agent.host.name} is deleted")
            self.mesh.remove(agent)
            for other in self.mesh.agents:
                known_until = self.mesh.clock.now + MAP_DELAY + UNDER_WAY
                self._forgotten[other, agent] = self._forgotten[agent, other] = known_until

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
        place = self.random.randrange(len(self._places))
        self._where[agent.host] = place
        self._note(f"{agent.host.name} moves to {self._describe(place)}")
        agent.host.leave().join(self._places[place][0].network)
        agent.moved()

    def _restart_router(self) -> None:
        place = self.random.randrange(1, len(self._places))
        router = self._places[place][0].router
        if router is not None:
            self._note(f"the router of {self._describe(place)} forgets all")
            router.restart()

    def _signal(self) -> None:
        up = not self.mesh.exchange.is_up
        self._note(f"signal is {'back' if up else 'away'}")
        self.mesh.exchange.set_up(up)

    def _stun(self) -> None:
        self.mesh.stun.is_up = not self.mesh.stun.is_up
        self._note(f"STUN is {'back' if self.mesh.stun.is_up else 'away'}")

    def _part(self) -> None:
        addresses = [address for site, _ in self._places for address in self._public(site)]
        self.random.shuffle(addresses)
        half = len(addresses) // 2
        self._note(f"the internet is parted: {addresses[:half]} | {addresses[half:]}")
        self._internet.part(addresses[:half], addresses[half:])

    def _lose(self) -> None:
        loss = self.random.choice((0.0, 0.1, 0.3, 1.0))
        self._note(f"the internet loses {loss:.0%}")
        self._internet.conditions = attrs.evolve(self._internet.conditions, loss=loss)

    def _heal(self) -> None:
        self._note("all heals")
        self._internet.part()
        self._internet.conditions = attrs.evolve(self._internet.conditions, loss=0.0)
        self.mesh.exchange.set_up(True)
        self.mesh.stun.is_up = True
        for agent in self.mesh.agents:
            if not agent.is_running:
                agent.start()

    # -- what must hold ----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """All that can reach each other do, and both know it."""
        pairs = [pair for pair in self.mesh.pairs() if self._can_be_direct(*pair)]
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

    def _ping(self, one: SimulatedAgent, other: SimulatedAgent) -> None:
        try:
            self.mesh.time_to_ping(one, other, within=SETTLE)
        except AssertionError:
            raise AssertionError(f"connected, but no ping passes: {self._names([(one, other)])}") from None

    def _rest(self) -> None:
        """Nothing changes any more, and little is sent."""
        self.mesh.clock.run_for(LEARNT)
        pairs = [pair for pair in self.mesh.pairs() if self._can_be_direct(*pair)]
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

    def _check_agent(self, agent: SimulatedAgent) -> None:
        """No key is installed for a peer that is not in the map."""
        if agent.is_running:
            assert agent.wireguard.peers <= agent.known.keys(), f"{agent.host.name} has a key that its map has not"

    def _arrived(self, datagram: Datagram) -> None:
        """Nothing is sent to a peer outside the map."""
        sender = self._by_host.get(datagram.origin)
        receiver = next(
            (agent for agent in self._by_host.values() if datagram.destination[0] in agent.host.addresses), None
        )
        if sender is None or receiver is None or receiver.key in sender.known:
            return
        until = self._forgotten.get((sender, receiver), -1.0)
        assert self.mesh.clock.now <= until, f"{sender.host.name} sends to {receiver.host.name}, which it must not know"

    # -- places ------------------------------------------------------------------------------------------------

    @property
    def _internet(self) -> Network:
        return self.mesh.lab.internet.network

    def _make_places(self) -> list[tuple[Site, Nat]]:
        lab = self.mesh.lab
        places = [(lab.internet, OPEN)]
        for _ in range(3):
            nat = attrs.evolve(self.random.choice(BEHAVIOURS), preserves_port=self.random.random() < 0.3)
            places.append((lab.behind(nat), nat))
        inner = self.random.choice(BEHAVIOURS)
        outer, outer_nat = places[1]
        places.append((outer.behind(inner), _worse(inner, outer_nat)))
        return places

    def _public(self, site: Site) -> list[str]:
        if site.router is None:
            return [host.ipv4 for host, place in self._where.items() if not place and host.attachments]
        return [site.router.ipv4] if site.router.ipv4 and site.router.outside is self._internet else []

    def _describe(self, place: int) -> str:
        site, nat = self._places[place]
        return f"{site.network.name} ({nat.mapping}/{nat.filtering})" if place else "the internet"

    def _can_be_direct(self, one: SimulatedAgent, other: SimulatedAgent) -> bool:
        here, there = self._where[one.host], self._where[other.host]
        if here == there:
            return True
        if {here, there} == {1, 4}:  # the second is behind the first: only as far as the inner router lets in
            return can_be_direct(self._places[4][1], OPEN)
        return can_be_direct(self._places[here][1], self._places[there][1])

    def _names(self, pairs: list[tuple[SimulatedAgent, SimulatedAgent]]) -> str:
        return ", ".join(
            f"{one.host.name} ({one.path_to(other).reason}) and {other.host.name} ({other.path_to(one).reason})"
            for one, other in pairs
        )


def _worse(one: Nat, other: Nat) -> Nat:
    """Two NATs, one behind the other, as one."""
    order = list(type(one.mapping)), list(type(one.filtering))
    return Nat(
        max(one.mapping, other.mapping, key=order[0].index), max(one.filtering, other.filtering, key=order[1].index)
    )
