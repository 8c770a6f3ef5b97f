"""An agent that is stopped says so: its peers show it as offline at once, and find it again when it is back."""

import pytest

from meshloom.testing.lab import Conditions
from meshloom_agent.mesh.search import span
from meshloom_agent.mesh.status import LEFT
from meshloom_agent.testing import SimulatedMesh
from meshloom_agent.testing.grid import BLOCKED, CONE

AT_ONCE = 0.5
"""Virtual seconds."""
ALL = [(CONE, 0), (CONE, 1), (BLOCKED, 1)]


def pair(nat, relays, *, lazy=False, seed=1):
    mesh = SimulatedMesh(seed, Conditions(delay=0.01), relays=relays, lazy=lazy)
    one, other = (mesh.agent(mesh.lab.behind(nat).host()) for _ in range(2))
    mesh.time_to_ping(one, other, within=5.0)
    mesh.clock.run_for(3.0)
    assert mesh.are_connected(one, other)
    return mesh, one, other


def is_offline(one, other):
    path = one.path_to(other)
    return path.state != "Connected" and path.reason.startswith("offline; last seen ")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("nat", "relays"), ALL)
def test_a_peer_that_was_stopped_is_offline_at_once(nat, relays, lazy):
    mesh, one, other = pair(nat, relays, lazy=lazy)
    reasons = []
    one.after_each_step = lambda agent: reasons.append(agent.path_to(other).reason)
    stopped = mesh.clock.now
    other.stop()
    mesh.clock.run_until(lambda: is_offline(one, other), within=AT_ONCE)
    mesh.clock.run_for(60.0)
    assert is_offline(one, other)
    assert one.path_to(other).reason == f"offline; last seen {span(mesh.clock.now - one.path_to(other).last_seen)} ago"
    assert one.path_to(other).last_seen - stopped < AT_ONCE
    assert not [reason for reason in reasons if LEFT in reason]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("away", [0.0, 0.05, 0.5, 5.0, 200.0])
@pytest.mark.parametrize(("nat", "relays"), ALL)
def test_a_peer_that_comes_back_is_connected_soon(nat, relays, away, seed):
    mesh, one, other = pair(nat, relays, seed=seed)
    other.stop()
    mesh.clock.run_for(away)
    other.start()
    assert mesh.time_to_ping(one, other, within=3.0) >= 0
    assert mesh.time_to_ping(other, one, within=3.0) >= 0
    assert one.path_to(other).last_seen is None
    mesh.clock.run_for(30.0)
    assert mesh.are_connected(one, other)


@pytest.mark.parametrize("away", [0.0, 1.0, 60.0])
def test_a_lazy_peer_that_comes_back_is_woken_by_the_first_packet(away):
    mesh, one, other = pair(CONE, 1, lazy=True)
    other.stop()
    mesh.clock.run_for(away)
    other.start()
    assert mesh.time_to_ping(one, other, within=6.0) >= 0
    assert one.path_to(other).last_seen is None


def test_a_goodbye_of_an_earlier_run_of_an_agent_is_not_believed():
    mesh, one, other = pair(CONE, 1)
    late = other.mesh.farewell()
    other.crash()
    other.start()
    mesh.time_to_ping(one, other, within=15.0)
    for message in late:
        mesh.exchange.send(one.key, message.__class__(message.kind, other.key, goodbye=message.goodbye))
    mesh.clock.run_for(1.0)
    assert mesh.are_connected(one, other)


def test_a_goodbye_of_who_is_not_in_the_map_says_nothing():
    mesh, one, other = pair(CONE, 1)
    (message,) = other.mesh.farewell()
    mesh.remove(other)
    mesh.clock.run_for(1.0)
    mesh.exchange.send(one.key, message.__class__(message.kind, other.key, goodbye=message.goodbye))
    mesh.clock.run_for(1.0)
    assert other.key not in one.mesh.peers
    assert other.key not in one.mesh.endpoints


@pytest.mark.parametrize(("nat", "relays"), ALL)
def test_a_peer_whose_power_is_cut_is_not_shown_as_connected_for_long(nat, relays):
    mesh, one, other = pair(nat, relays)
    other.crash()
    mesh.clock.run_until(lambda: one.path_to(other).state != "Connected", within=45.0)
    mesh.clock.run_for(1.0)
    assert LEFT not in one.path_to(other).reason


class TestWhatManagementSays:
    """Management knows which peers have no connection with it."""

    def test_a_peer_that_is_away_is_offline_since_then(self):
        mesh, one, other = pair(CONE, 1)
        other.crash()
        mesh.clock.run_for(30.0)
        one.mesh.set_away({other.key: mesh.clock.now - 7200.0}, mesh.clock.now)
        assert one.path_to(other).reason == "offline; last seen 2 h ago"

    def test_a_path_that_works_shows_that_a_peer_is_there_all_the_same(self):
        mesh, one, other = pair(CONE, 1)
        one.mesh.set_away({other.key: 0.0}, mesh.clock.now)
        assert one.path_to(other).state == "Connected"
        assert one.path_to(other).reason == ""

    def test_its_newer_word_goes_before_a_goodbye_and_a_newer_goodbye_before_its_word(self):
        mesh, one, other = pair(CONE, 1, lazy=True)
        asked = mesh.clock.now
        other.stop()
        mesh.clock.run_for(1.0)
        one.mesh.set_away({}, asked)
        assert is_offline(one, other)
        one.mesh.set_away({}, mesh.clock.now)
        assert one.path_to(other).reason == "there is no traffic"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (89.5, "2 min"), (119 * 60, "119 min"), (2 * 3600, "2 h"), (47 * 3600, "47 h"), (2 * 86400, "2 d")],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds, words):
    assert span(seconds) == words
