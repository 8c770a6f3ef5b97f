"""Whatever happens to a mesh, what must hold does: random schedules in the simulated network.

These are a few; ``make schedules`` runs ten thousand, and ten thousand with relays.
"""

import attrs
import pytest

from meshloom.testing.lab import Datagram
from meshloom_agent.mesh import Mesh
from meshloom_agent.testing.relayed_schedule import RelayedSchedule
from meshloom_agent.testing.schedule import Schedule
from meshloom_agent.testing.schedules import failure, failure_with_relays

FOUND = (28, 45, 152, 433, 667, 1367, 1553)
"""Seeds that found something once."""

FOUND_WITH_RELAYS = (3, 11, 105, 111, 141, 3851)
"""The same: a router that forgets soon, a sleeper and a relay that WireGuard was led away from."""


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_random_schedules_end_well(first):
    assert [what for seed in range(first, first + 10) if (what := failure(seed))] == []


@pytest.mark.parametrize("seed", FOUND)
def test_schedules_that_failed_once_end_well(seed):
    assert failure(seed) is None


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_random_schedules_with_relays_end_well(first):
    assert [what for seed in range(first, first + 10) if (what := failure_with_relays(seed))] == []


@pytest.mark.parametrize("seed", FOUND_WITH_RELAYS)
def test_schedules_with_relays_that_failed_once_end_well(seed):
    assert failure_with_relays(seed) is None


def test_the_same_seed_is_the_same_schedule():
    one, other = Schedule(7), Schedule(7)
    one.run()
    other.run()
    assert one.log == other.log
    assert one.mesh.clock.events == other.mesh.clock.events


class Forgetless(Mesh):
    """Keeps the connections to peers that have left the map."""

    def set_peers(self, peers, now):
        super().set_peers({**self.peers, **peers}, now)


def test_an_agent_that_does_not_forget_is_found_out(monkeypatch):
    monkeypatch.setattr("meshloom_agent.testing.agent.Mesh", Forgetless)
    found = next(what for seed in range(100) if (what := failure(seed)))
    assert "its map" in found


def test_a_datagram_to_a_peer_outside_the_map_is_found_out():
    schedule = Schedule(3)
    schedule.run()
    one, other = schedule.mesh.agents[:2]
    datagram = Datagram((one.host.ipv4, 1), (other.host.ipv4, 51820), b"", one.host)
    schedule._sent(datagram)
    del one.known[other.key]
    with pytest.raises(AssertionError, match="not in its map"):
        schedule._sent(attrs.evolve(datagram))


def test_a_mesh_that_cannot_connect_is_found_out():
    schedule = Schedule(0, steps=0)
    schedule.mesh.exchange.set_up(False)
    schedule._heal = lambda: None
    with pytest.raises(AssertionError, match="schedule 0: not connected"):
        schedule.run()


# -- with relays -------------------------------------------------------------------------------------------------


def test_a_mesh_whose_relays_are_away_is_found_out():
    schedule = RelayedSchedule(1, steps=0)
    schedule.mesh.exchange.set_up(False)
    schedule._heal = lambda: None
    with pytest.raises(AssertionError, match="schedule 1: not connected"):
        schedule.run()


def test_a_packet_by_another_peers_path_is_found_out():
    schedule = RelayedSchedule(3)
    schedule.run()
    one, other = schedule.mesh.agents[:2]
    packet = b"\4\0\0\0" + other.key.raw + one.key.raw + bytes(4)
    schedule._packet(one, packet, (other.host.ipv4, 1))
    schedule._packet(one, packet, one.relays.endpoint(other.key))
    with pytest.raises(AssertionError, match="another one's packet"):
        schedule._packet(other, packet, (one.host.ipv4, 1))
    with pytest.raises(AssertionError, match="by another peer's path"):
        schedule._packet(one, packet, one.relays.endpoint(one.key))


def test_a_packet_for_a_peer_outside_the_map_is_found_out():
    schedule = RelayedSchedule(3)
    schedule.run()
    one, other = schedule.mesh.agents[:2]
    relay = next(iter(schedule.mesh.relays.values()))
    relay.observe(one.key, other.key)
    del one.known[other.key]
    with pytest.raises(AssertionError, match="not in its map"):
        relay.observe(one.key, other.key)
