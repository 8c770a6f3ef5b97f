"""A path that comes and goes does not take the session with it: what hysteresis allows, and what is sent meanwhile."""

import pytest

from meshloom.testing.lab import Conditions, Nat
from meshloom_agent.mesh import MeshOptions
from meshloom_agent.mesh.path import Patience
from meshloom_agent.testing import SimulatedMesh

HALF_AN_HOUR = 1800.0
RETURNS = 10
"""To the direct path in ten minutes: after the n-th failure it has to work for 2, 4, 8, ... and at last 120 s."""
IMPATIENT = MeshOptions(patience=Patience(first=0.0))


class Pair:
    """Two agents with a relay, between whose routers datagrams are lost now and then."""

    def __init__(self, options=None):
        self.mesh = SimulatedMesh(1, Conditions(delay=0.01), relays=1, options=options)
        sites = [self.mesh.lab.behind(Nat()) for _ in range(2)]
        self.routers = [site.router.ipv4 for site in sites]
        self.agents = [self.mesh.agent(site.host()) for site in sites]
        self.mesh.clock.run_for(10)
        self.returns = {agent: [] for agent in self.agents}
        self.apart = []
        self._relayed = {}
        for agent in self.agents:
            agent.after_each_step = self._follow

    def _follow(self, agent):
        path = agent.path_to(next(each for each in self.agents if each is not agent))
        now = self.mesh.clock.now
        if path.state != "Connected":
            self.apart.append(now)
        elif self._relayed.get(agent) and not path.is_relayed:
            self.returns[agent].append(now)
        self._relayed[agent] = path.is_relayed

    def cut(self, *, one_way):
        one, other = self.routers
        self.mesh.lab.internet.network.lose(*([(one, other)] if one_way else [(one, other), (other, one)]))

    def mend(self):
        self.mesh.lab.internet.network.lose()

    def suffer(self, bad, good, *, one_way):
        """The periodic fault, with a ping each second."""
        end = self.mesh.clock.now + HALF_AN_HOUR
        while self.mesh.clock.now < end:
            self.cut(one_way=one_way)
            self._talk_for(bad)
            self.mend()
            self._talk_for(good)

    def _talk_for(self, seconds):
        one, other = self.agents
        for _ in range(seconds):
            one.ping(other)
            other.ping(one)
            self.mesh.clock.run_for(1.0)

    @property
    def most_in_ten_minutes(self):
        return max(sum(at <= each < at + 600 for each in times) for times in self.returns.values() for at in times)


@pytest.mark.parametrize("one_way", [False, True])
@pytest.mark.parametrize(("bad", "good"), [(4, 6), (6, 4), (8, 12), (5, 25), (12, 60), (8, 130)])
def test_under_a_periodic_fault_a_path_changes_seldom(bad, good, one_way):
    pair = Pair()
    pair.suffer(bad, good, one_way=one_way)
    assert 1 <= pair.most_in_ten_minutes <= RETURNS
    assert pair.apart == [], "the relay is there all the time"


def test_without_patience_it_would_change_with_each_fault():
    pair = Pair(IMPATIENT)
    pair.suffer(8, 12, one_way=False)
    assert pair.most_in_ten_minutes > RETURNS


@pytest.mark.parametrize("one_way", [False, True])
@pytest.mark.parametrize("bad", [5, 30, 120])
def test_what_is_mended_is_used_again_within_about_as_long_as_it_was_broken(bad, one_way):
    pair = Pair()
    pair.cut(one_way=one_way)
    pair._talk_for(bad)
    assert pair.mesh.are_connected(*pair.agents)
    assert all(pair._relayed.values())
    pair.mend()
    took = pair.mesh.clock.run_until(lambda: not any(pair._relayed.values()), within=1.5 * bad + 10)
    assert took > 0


@pytest.mark.parametrize("bad", [11, 13, 19, 27, 30, 35])
def test_a_path_that_was_lost_for_less_than_half_a_minute_is_used_again_within_seconds(bad):
    pair = Pair()
    pair.cut(one_way=False)
    pair._talk_for(bad)
    assert all(pair._relayed.values())
    pair.mend()
    assert pair.mesh.clock.run_until(lambda: not any(pair._relayed.values()), within=8.0) > 0


def test_udp_that_was_blocked_for_an_hour_is_used_soon_after_it_is_let_pass_again():
    mesh = SimulatedMesh(1, Conditions(delay=0.01), relays=1)
    site = mesh.lab.behind(Nat(blocks_udp=True))
    one, other = mesh.agent(site.host()), mesh.agent(mesh.lab.behind(Nat()).host())
    mesh.clock.run_for(3600)
    assert one.path_to(other).is_relayed
    site.router.nat = Nat()
    mesh.clock.run_until(lambda: not (one.path_to(other).is_relayed or other.path_to(one).is_relayed), within=30)
    assert mesh.time_to_ping(one, other, within=1) < 0.1


def test_a_fault_of_an_hour_that_shows_itself_in_nothing_else_costs_minutes():
    pair = Pair()
    pair.cut(one_way=True)
    pair.mesh.clock.run_for(3600)
    pair.mend()
    pair.mesh.clock.run_until(lambda: not any(pair._relayed.values()), within=450)


def test_while_a_direct_path_is_tried_in_vain_little_is_sent():
    pair = Pair()
    pair.cut(one_way=False)
    pair.mesh.clock.run_for(1800)
    told = []
    pair.mesh.exchange.observe = lambda *message: told.append(message)
    sent = pair.agents[0].host.sent
    pair.mesh.clock.run_for(1800)
    assert len(told) / 1800 < 0.15
    assert (pair.agents[0].host.sent - sent) / 1800 < 0.3
