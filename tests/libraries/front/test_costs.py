"""What callers are estimated to cost."""

import pytest

from meshloom_front import costs


@pytest.mark.parametrize(
    ("trips", "slowness"),
    [
        ([costs.TRIP], 1.0),
        ([costs.TRIP / 2], 1.0),
        ([costs.TRIP * 9, costs.TRIP * 2, costs.TRIP * 3], 2.0),
        ([costs.TRIP * 100], costs.SLOWEST),
    ],
)
def test_a_slow_machine_is_told_by_its_best_try_and_within_bounds(monkeypatch, trips, slowness):
    tries = iter(trips * 5)
    monkeypatch.setattr(costs, "_trip", lambda: next(tries))
    assert costs.slowness() == pytest.approx(slowness)


def test_this_machine_is_measured():
    assert costs.TRIP / 10 < costs._trip() < costs.TRIP * 1000
