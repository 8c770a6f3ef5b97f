"""What a connection does when its path changes, in the simulated network."""

from collections import Counter

import attrs
import pytest

from meshloom.testing.lab import OPEN, Conditions, Filtering, Mapping, Nat
from meshloom_agent.testing import SimulatedMesh

CONE = Nat()
HAIRPINNING = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_DEPENDENT)
SYMMETRIC = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
STEADY = Conditions(delay=0.01)


@pytest.fixture
def mesh():
    return SimulatedMesh(1, STEADY)


def connected(mesh, *hosts):
    """An agent on each of two hosts, connected, with a session of WireGuard's and endpoints that are known."""
    one, other = map(mesh.agent, hosts)
    mesh.time_to_connect(one, other, within=5)
    mesh.time_to_ping(one, other, within=5)
    mesh.clock.run_for(6)
    return one, other


def signalled(mesh):
    """Counts the messages from now on."""
    count = Counter()
    mesh.exchange.observe = lambda _, message: count.update([message.kind])
    return count


def test_a_path_that_dies_gives_way_to_another_without_signal(mesh):
    lan = mesh.lab.behind(CONE)
    hosts = [lan.host().join(mesh.lab.internet.network) for _ in range(2)]
    one, other = connected(mesh, *hosts)
    used = one.path_to(other).remote_address[0]
    assert used in other.host.addresses
    mesh.exchange.set_up(False)
    network = next(each.network for each in other.host.attachments if each.address == used)
    network.part(*([each.address] for host in hosts for each in host.attachments if each.network is network))
    took = mesh.clock.run_until(
        lambda: one.path_to(other).remote_address not in (None, (used, 51820)) and mesh.are_connected(one, other),
        within=20,
    )
    assert took < 6
    mesh.time_to_ping(one, other, within=1)


def test_two_that_move_at_the_same_time_find_each_other_and_then_keep_silent(mesh):
    one, other = connected(mesh, mesh.lab.behind(CONE).host(), mesh.lab.behind(CONE).host())
    for agent in (one, other):
        agent.host.leave().join(mesh.lab.behind(CONE).network)
        agent.moved()
    mesh.clock.run_for(0.1)
    count = signalled(mesh)
    mesh.time_to_connect(one, other, within=2)
    mesh.time_to_ping(one, other, within=2)
    mesh.clock.run_for(30)
    assert count.total() <= 20
    count.clear()
    mesh.clock.run_for(60)
    assert not count


@pytest.mark.parametrize("after", [0.05, 0.5, 30.0])
def test_one_that_moves_is_reached_again_within_two_seconds(mesh, after):
    one, other = connected(mesh, mesh.lab.internet.host(), mesh.lab.behind(CONE).host())
    mesh.clock.run_for(after)
    one.host.leave().join(mesh.lab.behind(CONE).network)
    one.moved()
    mesh.clock.run_for(0.06)
    assert mesh.time_to_ping(one, other, within=10) < 2
    assert mesh.time_to_ping(other, one, within=10) < 2


def test_a_crashed_agent_is_reached_again_when_it_is_back(mesh):
    for agent, other in (connected(mesh, mesh.lab.internet.host(), mesh.lab.internet.host()),):
        for crashing, staying in ((agent, other), (other, agent)):
            crashing.crash()
            mesh.clock.run_for(3)
            crashing.start()
            mesh.time_to_connect(crashing, staying, within=5)
            assert mesh.time_to_ping(crashing, staying, within=30) < 7
            assert mesh.time_to_ping(staying, crashing, within=30) < 2


def test_two_behind_one_router_that_gives_each_destination_a_port_do_not_check_for_ever(mesh):
    carrier = mesh.lab.behind(HAIRPINNING)
    one, _ = connected(mesh, carrier.behind(OPEN).host(), carrier.behind(OPEN).host())
    mesh.clock.run_for(30)
    sent = one.host.sent
    mesh.clock.run_for(60)
    assert (one.host.sent - sent) / 60 < 2


def test_a_restarted_router_interrupts_for_seconds(mesh):
    site = mesh.lab.behind(CONE)
    one, other = connected(mesh, site.host(), mesh.lab.behind(CONE).host())
    site.router.restart()
    mesh.clock.run_until(lambda: not mesh.are_connected(one, other), within=15)
    mesh.time_to_connect(one, other, within=5)
    assert mesh.time_to_ping(other, one, within=30) < 2


def test_candidates_follow_the_answer(mesh):
    """An agent without a session of its own does not take them before."""
    order = []
    mesh.exchange.observe = lambda receiver, message: order.append((receiver, message.kind.name))
    one, other = connected(mesh, mesh.lab.internet.host(), mesh.lab.internet.host())
    for agent in (one, other):
        kinds = [kind for receiver, kind in order if receiver == agent.key]
        assert min(kinds.index(kind) for kind in ("OFFER", "ANSWER") if kind in kinds) < kinds.index("CANDIDATE")


def test_stun_that_was_away_is_found_soon_after_it_is_back():
    mesh = SimulatedMesh(1, STEADY)
    mesh.stun.is_up = False
    agent = mesh.agent(mesh.lab.behind(attrs.evolve(CONE, timeout=300)).host())
    mesh.clock.run_for(200)
    mesh.stun.is_up = True
    assert mesh.clock.run_until(lambda: bool(agent.mesh.public_addresses), within=60) < 20


def test_a_router_that_forgets_sooner_than_it_is_asked_is_asked_more_often():
    mesh = SimulatedMesh(1, STEADY)
    agent = mesh.agent(mesh.lab.behind(attrs.evolve(CONE, timeout=20)).host())
    mesh.clock.run_for(60)
    known, sent = agent.mesh.public_addresses, agent.host.sent
    mesh.clock.run_for(120)
    assert agent.mesh.public_addresses == known
    assert agent.host.sent - sent <= 120 / 6


def test_a_router_that_was_restarted_once_is_not_asked_ever_more_often():
    mesh = SimulatedMesh(1, STEADY)
    site = mesh.lab.behind(CONE)
    agent = mesh.agent(site.host())
    for _ in range(5):
        mesh.clock.run_for(60)
        site.router.restart()
    mesh.clock.run_for(60)
    sent = agent.host.sent
    mesh.clock.run_for(120)
    assert agent.host.sent - sent <= 120 / 6


def test_a_relayed_pair_whose_router_gives_ever_new_addresses_does_not_flood_signal():
    mesh = SimulatedMesh(1, STEADY, relays=1)
    one = mesh.agent(mesh.lab.behind(attrs.evolve(SYMMETRIC, timeout=4)).host())
    other = mesh.agent(mesh.lab.behind(SYMMETRIC).host())
    mesh.clock.run_for(120)
    assert one.path_to(other).is_relayed
    count = signalled(mesh)
    mesh.clock.run_for(600)
    assert count.total() <= 600
