"""Peers sleep until there is traffic, and wake each other."""

from ipaddress import ip_network
from random import Random

import pytest

from meshloom.model.keys import PublicKey
from meshloom.protocol.signal import Credentials, SignalKind, SignalMessage
from meshloom_agent.mesh import Mesh, RemotePeer
from meshloom_agent.mesh.lazy import KEEPALIVE_BYTES, Activity, Sleepers, can_sleep
from meshloom_agent.mesh.options import MeshOptions
from meshloom_agent.testing import SimulatedMesh
from meshloom_agent.testing.grid import BLOCKED, CONE, SYMMETRIC

PEER, OTHER = (PublicKey.of(bytes([number]) * 32) for number in (1, 2))
WITHIN = 0.5
"""Virtual seconds to the first answer; WireGuard alone would repeat its first packet after 5."""


@pytest.mark.parametrize(
    ("version", "able"),
    [
        ("0.45.0", True),
        ("0.44.9", False),
        ("v1.0.0", True),
        ("0.77.1-rc1", True),
        ("dev", True),
        ("development", True),
        ("1", False),
        ("", False),
        ("x.y", False),
    ],
)
def test_old_agents_are_not_let_sleep(version, able):
    assert can_sleep(version) is able


def two_agents(nat, relays=0, **more):
    mesh = SimulatedMesh(1, relays=relays, lazy=True, **more)
    one, other = (mesh.agent(mesh.lab.behind(nat).host()) for _ in range(2))
    mesh.clock.run_for(5.0)
    return mesh, one, other


def test_a_peer_without_traffic_costs_nothing():
    mesh, one, other = two_agents(CONE)
    assert one.path_to(other).state == other.path_to(one).state == "Idle"
    sent = one.host.sent
    mesh.clock.run_for(20.0)
    assert one.host.sent == sent, "not even what keeps a mapping open"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("nat", "relays"), [(CONE, 0), (CONE, 1), (SYMMETRIC, 1), (BLOCKED, 1)])
def test_the_first_packet_wakes_both_and_is_not_lost(nat, relays, first):
    mesh, *agents = two_agents(nat, relays)
    one, other = agents if first == 0 else reversed(agents)
    assert mesh.time_to_ping(one, other, within=WITHIN) > 0
    assert mesh.are_connected(one, other)
    mesh.clock.run_for(2.0)
    assert one.path_to(other).is_relayed is (nat is not CONE)


def test_a_peer_that_an_offer_wakes_answers_it_and_makes_no_offer_of_its_own():
    """Of two offers that say the same, each would be answered, too: twice the messages before the first packet."""
    made = Mesh(OTHER, Random(1).randbytes)
    made.set_local(["192.0.2.2"], 51820, 0.0)
    made.set_lazy(True, 0.0)
    made.signal_ready(True, 0.0)
    made.set_peers({PEER: RemotePeer((ip_network("100.64.0.1/32"),), version="0.77.1")}, 0.0)
    credentials = Credentials("a" * 16, "b" * 32)
    made.receive_signal(SignalMessage(SignalKind.OFFER, PEER, credentials=credentials, session_id=b"12345"), 1.0)
    assert [each.kind for each in made.signals()] == [SignalKind.ANSWER, SignalKind.CANDIDATE]
    while not (later := made.signals()) and (due := made.deadline()) is not None and due < 30.0:
        made.handle_timer(due)
    assert later[0].kind is SignalKind.OFFER, "an answer that was lost does not end it"


def test_peers_that_were_idle_for_long_fall_asleep_together_and_wake_again():
    mesh, one, other = two_agents(CONE, options=MeshOptions(idle_after=120.0))
    mesh.time_to_ping(one, other, within=WITHIN)
    mesh.clock.run_for(90.0)
    assert mesh.are_connected(one, other)
    mesh.clock.run_for(120.0)
    assert one.path_to(other).state == other.path_to(one).state == "Idle"
    mesh.time_to_ping(other, one, within=WITHIN)


def test_peers_that_talk_stay_awake():
    mesh, one, other = two_agents(CONE, options=MeshOptions(idle_after=120.0))
    for _ in range(30):
        for _ in range(10):
            one.ping(other)
        mesh.clock.run_for(20.0)
    assert mesh.are_connected(one, other)


def test_all_wake_when_nobody_shall_sleep():
    mesh, one, other = two_agents(CONE)
    for agent in (one, other):
        agent.mesh.set_lazy(False, mesh.clock.now)
        agent.settle()
    mesh.time_to_connect(one, other, within=WITHIN)


def test_a_number_is_its_peers_while_that_is_in_the_map():
    sleepers = Sleepers()
    number = sleepers.number(PEER)
    assert sleepers.number(PEER) == number != sleepers.number(OTHER)
    assert sleepers.peer(number) == PEER
    sleepers.forget(PEER)
    assert sleepers.peer(number) is None
    assert sleepers.number(PEER) != number


def test_wireguards_own_traffic_is_no_activity():
    activity = Activity()
    count = 1000
    for look in range(40):
        count += 2 * 32 + (148 + 92 if look % 4 == 0 else 0)
        idle = activity.observe({PEER: count, OTHER: look * 10_000}, look * 30.0, 900.0)
        assert idle == ([PEER] if look >= 30 else [])


def test_a_counter_that_begins_anew_is_a_new_peer():
    activity = Activity()
    activity.observe({PEER: 5000}, 0.0, 60.0)
    assert activity.observe({PEER: 0}, 90.0, 60.0) == []


@pytest.fixture
def sleepy():
    """A mesh whose one peer sleeps."""
    mesh = Mesh(OTHER, Random(1).randbytes)
    mesh.set_lazy(True, 0.0)
    mesh.set_peers({PEER: RemotePeer((ip_network("100.64.0.2/32"),), version="1.0.0")}, 0.0)
    return mesh


@pytest.mark.parametrize(
    ("packet", "wakes"),
    [
        (b"\4\0\0\0" + bytes(KEEPALIVE_BYTES - 4), False),
        (b"\4\0\0\0" + bytes(KEEPALIVE_BYTES - 4 + 16), True),
        (b"\1\0\0\0" + bytes(144), True),
    ],
)
def test_all_packets_but_wireguards_keepalive_wake(sleepy, packet, wakes):
    sleepy.rung(0, packet, 1.0)
    assert (sleepy.status(PEER, 0.0).state != "Idle") is wakes
    assert (PEER in sleepy.asleep) is not wakes


def test_wireguard_is_looked_at_once_after_the_last_has_fallen_asleep(sleepy):
    assert sleepy.needs_look
    sleepy.set_traffic({}, 30.0)
    assert not sleepy.needs_look


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("asleep_for", [0.0, 300.0])
def test_a_sleeper_that_packets_led_away_is_woken_nevertheless(who, asleep_for):
    mesh, *agents = two_agents(CONE, options=MeshOptions(idle_after=120.0))
    one, other = agents if who == 0 else reversed(agents)
    mesh.time_to_ping(one, other, within=WITHIN)
    mesh.clock.run_until(lambda: other.key in one.mesh.asleep, within=300.0)
    mesh.clock.run_for(asleep_for)
    one.wireguard.set_endpoint(other.key, (other.host.ipv4, 1))
    mesh.clock.run_for(60.0)
    mesh.time_to_ping(one, other, within=WITHIN)


def test_who_is_woken_soon_after_it_fell_asleep_stays_awake_for_as_long_as_any():
    mesh, one, other = two_agents(CONE, options=MeshOptions(idle_after=120.0))
    mesh.time_to_ping(one, other, within=WITHIN)
    mesh.clock.run_until(lambda: other.key in one.mesh.asleep and one.key in other.mesh.asleep, within=300.0)
    mesh.clock.run_for(1.0)
    mesh.time_to_ping(one, other, within=WITHIN)
    mesh.clock.run_for(100.0)
    assert mesh.are_connected(one, other)
