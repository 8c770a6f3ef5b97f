"""How large a datagram a path carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.testing.lab import Conditions
from meshloom_agent.mesh.mtu import SMALLEST, STEP, MtuTimers, PathMtu
from meshloom_agent.testing import SimulatedMesh
from meshloom_agent.testing.grid import CONE


def search(mtu, carries, now=0.0, *, most=200):
    """Probes until the size is known; how many there were, and when that was."""
    sent = 0
    while not mtu.is_known:
        size = mtu.probe()
        if size is not None:
            sent += 1
            assert sent <= most
            if carries(size):
                mtu.answered(size, now)
                continue
        now = mtu.deadline()
        mtu.handle_timer(now)
    return sent, now


def test_a_path_that_carries_what_is_wanted_is_known_by_one_probe():
    mtu = PathMtu(1340)
    mtu.start(0.0)
    assert search(mtu, lambda _: True) == (1, 0.0)
    assert mtu.size == 1340


@given(st.integers(SMALLEST, 1500))
def test_the_size_that_a_black_hole_leaves_is_found(limit):
    mtu = PathMtu(1500)
    mtu.start(0.0)
    sent, _ = search(mtu, lambda size: size <= limit)
    assert limit - STEP < mtu.size <= limit
    assert sent <= 50


def test_one_probe_lost_by_chance_changes_nothing():
    mtu = PathMtu(1340)
    mtu.start(0.0)
    losses = iter([False, False, True])
    search(mtu, lambda _: next(losses))
    assert mtu.size == 1340


def test_a_known_size_is_tried_again():
    mtu = PathMtu(1340, MtuTimers(again=100.0))
    mtu.start(0.0)
    _, now = search(mtu, lambda size: size <= 1300)
    assert mtu.size <= 1300
    assert mtu.deadline() == now + 100.0
    mtu.handle_timer(now + 100.0)
    search(mtu, lambda _: True, now + 100.0)
    assert mtu.size == 1340


def test_the_old_size_is_in_use_while_it_is_looked_again():
    mtu = PathMtu(1340, MtuTimers(again=100.0))
    mtu.start(0.0)
    _, now = search(mtu, lambda size: size <= 1300)
    before = mtu.size
    mtu.handle_timer(now + 100.0)
    assert mtu.size == before


def test_a_new_path_is_hoped_to_be_a_good_one():
    mtu = PathMtu(1340)
    mtu.start(0.0)
    search(mtu, lambda size: size <= 1300)
    mtu.start(50.0)
    assert mtu.size == 1340
    assert not mtu.is_known


@pytest.mark.parametrize("size", [1339, 1341])
def test_an_answer_to_another_probe_counts_for_nothing(size):
    mtu = PathMtu(1340)
    mtu.start(0.0)
    mtu.answered(size, 0.1)
    assert not mtu.is_known


def test_without_a_path_there_is_nothing_to_do():
    mtu = PathMtu(1340)
    mtu.start(0.0)
    mtu.stop()
    assert mtu.deadline() is None
    assert mtu.probe() is None
    mtu.answered(1340, 1.0)
    assert not mtu.is_known


@pytest.mark.parametrize(("largest", "mtu"), [(1500, None), (1312, None), (1311, 1264), (1290, 1248), (1240, 1200)])
def test_a_black_hole_on_a_direct_path_is_found_by_both_sides(largest, mtu):
    mesh = SimulatedMesh(1, Conditions(delay=0.01, largest=largest))
    one, other = (mesh.agent(mesh.lab.behind(CONE).host()) for _ in range(2))
    mesh.time_to_connect(one, other, within=5.0)
    mesh.clock.run_for(20.0)
    assert one.mesh.mtu(other.key) == other.mesh.mtu(one.key) == mtu
    assert mesh.are_connected(one, other)


def test_a_path_that_ended_says_nothing_of_the_next():
    mesh = SimulatedMesh(1, Conditions(delay=0.01, largest=1290))
    one, other = (mesh.agent(mesh.lab.behind(CONE).host()) for _ in range(2))
    mesh.time_to_connect(one, other, within=5.0)
    mesh.clock.run_for(20.0)
    mesh.lab.internet.network.conditions = Conditions(delay=0.01)
    other.host.leave().join(mesh.lab.internet.network)
    other.moved()
    mesh.clock.run_for(20.0)
    assert one.mesh.mtu(other.key) is None
