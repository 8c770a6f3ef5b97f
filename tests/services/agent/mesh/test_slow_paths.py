"""Direct paths whose round trip takes a second and a half, as over two satellites' lines: found, and kept."""

import pytest

from meshloom.testing.lab import Conditions, Nat
from meshloom_agent.testing import SimulatedMesh

ONE_WAY = 0.75
MINUTES = 1800.0


def changes(seed, loss, relays, one_way=ONE_WAY):
    """The ways that the first of two agents took in half an hour, each with the time when it did."""
    mesh = SimulatedMesh(seed, Conditions(delay=one_way, loss=loss), relays=relays)
    mesh.exchange.delay = one_way
    one, other = (mesh.agent(mesh.lab.behind(Nat()).host()) for _ in range(2))
    found = []

    def follow(agent):
        path = agent.path_to(other)
        way = "relayed" if path.is_relayed else "direct" if path.state == "Connected" else "none"
        if not found or found[-1][1] != way:
            found.append((mesh.clock.now, way))

    one.after_each_step = follow
    mesh.clock.run_for(60)
    sent = one.host.sent
    mesh.clock.run_for(MINUTES - 60)
    return found, (one.host.sent - sent) / (MINUTES - 60)


@pytest.mark.parametrize("relays", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_slow_path_is_found_and_kept(seed, relays):
    found, sent = changes(seed, 0.0, relays)
    assert found[-1][1] == "direct"
    assert found[-1][0] < 5.0
    assert sent < 1.0, "checks that are about to be answered are not repeated"


@pytest.mark.parametrize("seed", range(4))
def test_where_a_tenth_is_lost_a_slow_path_is_left_seldom(seed):
    found, _ = changes(seed, 0.1, 1)
    assert [way for _, way in found].count("direct") <= 4
    assert found[-1][1] == "direct"
    without_relay, _ = changes(seed, 0.1, 0)
    assert [way for _, way in without_relay].count("direct") == 1
