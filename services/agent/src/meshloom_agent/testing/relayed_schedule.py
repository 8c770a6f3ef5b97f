"""Random schedules of a mesh with relays: whatever the networks are, all reach each other, and paths do not flap."""

from collections import Counter
from collections.abc import Callable
from itertools import permutations

import attrs

from meshloom.model.keys import PublicKey
from meshloom.protocol.signal import SignalMessage
from meshloom.protocol.stun import Address
from meshloom.testing.lab import Router
from meshloom.testing.lab.wireguard import KEY
from meshloom_agent.mesh import MeshOptions
from meshloom_agent.testing.agent import SimulatedAgent
from meshloom_agent.testing.mesh import SimulatedMesh
from meshloom_agent.testing.schedule import LEARNT, PAUSES, QUIET, QUIET_DATAGRAMS, STALE, TRYING_DATAGRAMS, Schedule

RELAYS = 2
LAZY = 0.25
"""Share of schedules whose peers sleep while there is no traffic."""
IDLE_AFTER = 120.0
SETTLE = 60.0
"""Virtual seconds after the last disturbance within which all are connected: a relay is tried again after 45 s."""
DIRECT = 600.0
"""Thereafter, until all who can reach each other directly do: an attempt each 5 to 7.5 minutes, and some patience."""
TALK = 10.0
"""Between two packets of each pair, until they shall be at rest."""
PINGED = 10.0
"""Thereafter, until a ping is answered: WireGuard says what was lost again after 5 s."""
ASLEEP = 3 * IDLE_AFTER
"""Without traffic, until all that may sleep do."""
WOKEN = 6.0
"""Until a sleeper answers: WireGuard says its first packet again after 5 s, where that was lost."""
RETURNS = 12
"""How often a path may return to the direct one in a schedule in which nothing but the networks between changes."""
QUIET_SIGNALS = 0.5
"""Messages a second by signal that an agent at rest sends for each peer, at the most."""


class RelayedSchedule(Schedule):
    """One random run with relays."""

    def __init__(self, seed: int, *, agents: int = 4, steps: int = 10) -> None:
        super().__init__(seed, agents=agents, steps=steps)
        self._returns: Counter[tuple[SimulatedAgent, SimulatedAgent]] = Counter()
        self._events: Counter[SimulatedAgent] = Counter()
        self._ways: dict[tuple[SimulatedAgent, SimulatedAgent], str] = {}
        self._changed: dict[tuple[SimulatedAgent, SimulatedAgent], float] = {}
        self._signals: Counter[PublicKey] = Counter()
        self._relayed: Counter[PublicKey] = Counter()
        self._listed = list(self.mesh.relays)
        self._talks = False
        self.direct_after: float | None = None
        """Virtual seconds from all being connected to the last direct path."""
        for relay in self.mesh.relays.values():
            relay.observe = self._relayed_packet

    def _new_mesh(self, ipv6: bool) -> SimulatedMesh:
        self.is_lazy = self.random.random() < LAZY
        options = MeshOptions(idle_after=IDLE_AFTER)
        mesh = super()._new_mesh(ipv6)
        return SimulatedMesh(
            self.seed,
            mesh.lab.internet.network.conditions,
            ipv6=ipv6,
            relays=RELAYS,
            lazy=self.is_lazy,
            options=options,
        )

    @property
    def pauses(self) -> tuple[float, ...]:
        """Some long enough for whoever tries in vain to try only seldom."""
        return (*PAUSES, 400.0)

    # -- disturbances ------------------------------------------------------------------------------------------

    def _chances(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            *super()._chances(),
            (3, self._switch_relay),
            (2, self._drain_relay),
            (3, self._block),
            (1, self._forget_soon),
            (2, self._lose_one_way),
            (3, self._chat),
        ]

    def _disturb(self) -> None:
        super()._disturb()
        self._check_relays()

    def _check_relays(self) -> None:
        for relay in self.mesh.relays.values():
            relay.check()

    def _switch_relay(self) -> None:
        relay = self.random.choice(list(self.mesh.relays.values()))
        self._note(f"{relay.url} is {'killed' if relay.is_up else 'started'}")
        relay.set_up(not relay.is_up)

    def _drain_relay(self) -> None:
        """Management tells of it no more, or again; it ends a moment later."""
        url = self.random.choice(list(self.mesh.relays))
        is_drained = url in self._listed
        self._note(f"{url} is {'drained' if is_drained else 'listed'}")
        self._list([each for each in self.mesh.relays if (each in self._listed) is not (each == url)])
        relay = self.mesh.relays[url]
        if is_drained:
            self.mesh.clock.call_in(5.0, lambda: relay.set_up(False) if url not in self._listed else None)
        else:
            relay.set_up(True)

    def _list(self, urls: list[str]) -> None:
        self._listed = urls
        for agent in self.mesh.agents + self._deleted:
            agent.take_relays(urls)

    def _watch(self, agent: SimulatedAgent) -> None:
        super()._watch(agent)
        agent.take_relays(self._listed)
        agent.observe_packet = self._packet

    def _routers(self) -> list[Router]:
        return [router for place in range(len(self.places)) if (router := self.places.router(place)) is not None]

    def _block(self) -> None:
        router = self.random.choice(self._routers())
        blocks = not router.nat.blocks_udp
        self._note(f"the router of {router.inside.name} {'blocks UDP' if blocks else 'lets UDP pass'}")
        router.nat = attrs.evolve(router.nat, blocks_udp=blocks)

    def _forget_soon(self) -> None:
        router = self.random.choice(self._routers())
        self._note(f"the router of {router.inside.name} forgets after 20 s")
        router.nat = attrs.evolve(router.nat, timeout=20.0)

    def _lose_one_way(self) -> None:
        addresses = self.places.on_the_internet()
        if len(addresses) > 1:
            way = tuple(self.random.sample(addresses, 2))
            self._note(f"what {way[0]} sends to {way[1]} is lost")
            self._internet.lose((way[0], way[1]))

    def _chat(self) -> None:
        for one, other in permutations(self.mesh.agents, 2):
            one.ping(other)

    def _move(self) -> None:
        before = {agent: agent.host.addresses for agent in self.mesh.agents}
        super()._move()
        self._events.update(agent for agent in self.mesh.agents if agent.host.addresses != before[agent])

    def _heal(self) -> None:
        self._internet.lose()
        for router in self._routers():
            router.nat = attrs.evolve(router.nat, blocks_udp=False)
        for relay in self.mesh.relays.values():
            relay.set_up(True)
        self._list(list(self.mesh.relays))
        super()._heal()

    # -- what must hold in the end -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """All reach each other, and directly where they can."""
        self._talks = True
        self._talk()
        self.mesh.clock.run_for(STALE)
        pairs = list(self.mesh.pairs())
        self._await(SETTLE, pairs, self.mesh.are_connected, "not connected")
        for one, other in pairs:
            self._ping(one, other)
            self._ping(other, one)
        direct = [pair for pair in pairs if self._are_direct(*pair)]
        began = self.mesh.clock.now
        self._await(DIRECT, direct, self._both_direct, "not direct")
        self.direct_after = self.mesh.clock.now - began
        for one, other in pairs:
            self._ping(one, other)
            self._ping(other, one)
        self._talks = False

    def _ping(self, one: SimulatedAgent, other: SimulatedAgent, within: float = PINGED) -> None:
        super()._ping(one, other, within)

    def _await(
        self,
        within: float,
        pairs: list[tuple[SimulatedAgent, SimulatedAgent]],
        holds: Callable[[SimulatedAgent, SimulatedAgent], bool],
        otherwise: str,
    ) -> None:
        waiting = list(pairs)

        def is_over() -> bool:
            waiting[:] = [pair for pair in waiting if not holds(*pair)]
            return not waiting

        try:
            self.mesh.clock.run_until(is_over, within=within)
        except AssertionError:
            raise AssertionError(f"{otherwise}: {self._names(waiting)}") from None

    def _both_direct(self, one: SimulatedAgent, other: SimulatedAgent) -> bool:
        return (
            self.mesh.are_connected(one, other)
            and not one.path_to(other).is_relayed
            and not other.path_to(one).is_relayed
        )

    def _talk(self) -> None:
        if self._talks:
            self._chat()
            self.mesh.clock.call_in(TALK, self._talk)

    def _rest(self) -> None:
        """Nothing changes any more, little is sent, and no path is another one than before."""
        self.mesh.clock.run_for(LEARNT)
        began = self.mesh.clock.now
        before = {agent: agent.host.sent for agent in self.mesh.agents}
        self._signals.clear()
        self._relayed.clear()
        self.mesh.clock.run_for(QUIET)
        for agent, sent in before.items():
            others = [other for other in self.mesh.agents if other is not agent]
            trying = [other for other in others if not self._are_direct(agent, other)]
            self._few(
                agent,
                "datagrams",
                agent.host.sent - sent,
                len(trying) * TRYING_DATAGRAMS + len(others) * QUIET_DATAGRAMS,
            )
            self._few(agent, "packets by relays", self._relayed[agent.key], len(others) * QUIET_DATAGRAMS)
            self._few(agent, "messages by signal", self._signals[agent.key], len(others) * QUIET_SIGNALS)
        for one, other in permutations(self.mesh.agents, 2):
            state = one.path_to(other).state
            assert state == "Connected" or self.is_lazy, f"fell apart at rest: {self._names([(one, other)])}"
            changed = self._changed.get((one, other), began)
            assert changed <= began or self.is_lazy, f"the path changed at rest: {self._names([(one, other)])}"

        for one, other in permutations(self.mesh.agents, 2):
            self._goes_as_said(one, other)
        if self.is_lazy:
            self._sleep()

    def _goes_as_said(self, one: SimulatedAgent, other: SimulatedAgent) -> None:
        """WireGuard sends by the path that the status tells of."""
        path, endpoint = one.path_to(other), one.wireguard.endpoint(other.key)
        if path.state == "Connected":
            is_relayed = endpoint == one.relays.endpoint(other.key)
            assert is_relayed is path.is_relayed, f"WireGuard sends to {endpoint}: {self._names([(one, other)])}"

    def _sleep(self) -> None:
        """Without traffic all fall asleep, and a packet wakes them."""
        self.mesh.clock.run_for(ASLEEP)
        pairs = list(self.mesh.pairs())
        awake = [pair for pair in pairs if {pair[0].path_to(pair[1]).state, pair[1].path_to(pair[0]).state} != {"Idle"}]
        assert not awake, f"awake without traffic: {self._names(awake)}"
        for pair in pairs:
            one, other = pair if self.random.random() < 0.5 else reversed(pair)
            try:
                self.mesh.time_to_ping(one, other, within=WOKEN)
            except AssertionError:
                raise AssertionError(f"a sleeper is not woken: {self._names([(one, other)])}") from None

    def _few(self, agent: SimulatedAgent, what: str, count: int, most: float) -> None:
        rate = count / QUIET
        assert rate <= most, f"{agent.host.name} sends {rate:.2f} {what} a second, not {most:.2f}"

    # -- what must hold at each step ---------------------------------------------------------------------------

    def _check_agent(self, agent: SimulatedAgent) -> None:
        super()._check_agent(agent)
        if not agent.is_running:
            return
        for url, names in agent.relays.plan.subscriptions().items():
            assert names <= agent.known.keys(), f"{agent.host.name} asks {url} for a peer that its map has not"
        for key in agent.known:
            if (other := self._by_key[key]) is not agent:
                self._follow(agent, other)

    def _follow(self, agent: SimulatedAgent, other: SimulatedAgent) -> None:
        """A path returns to the direct one only as often as its hysteresis allows."""
        path = agent.path_to(other)
        way = ("relayed" if path.is_relayed else "direct") if path.state == "Connected" else path.state
        before = self._ways.get((agent, other))
        if way == before:
            return
        self._ways[agent, other], self._changed[agent, other] = way, self.mesh.clock.now
        if (before, way) == ("relayed", "direct"):
            self._returns[agent, other] += 1
            most = RETURNS + self._events[agent] + self._events[other]
            assert self._returns[agent, other] <= most, f"{agent.host.name} and {other.host.name}: the path flaps"

    def _packet(self, agent: SimulatedAgent, data: bytes, source: Address) -> None:
        """What comes to an agent's WireGuard is for it, and of the peer whose path it comes by."""
        sender, receiver = data[4 : 4 + KEY], data[4 + KEY : 4 + 2 * KEY]
        assert receiver == agent.key.raw, f"{agent.host.name} gets another one's packet"
        peer = agent.relays.peer(source)
        assert peer is None or peer.raw == sender, f"{agent.host.name} gets a packet by another peer's path"

    def _relayed_packet(self, sender: PublicKey, receiver: PublicKey) -> None:
        """No relay is given a packet for a peer outside the map."""
        self._relayed[sender] += 1
        known = self._by_key[sender].known
        assert receiver in known, f"{self._by_key[sender].host.name} relays to {receiver.text[:4]}, not in its map"

    def _signalled(self, receiver: PublicKey, message: SignalMessage) -> None:
        super()._signalled(receiver, message)
        self._signals[message.other] += 1
