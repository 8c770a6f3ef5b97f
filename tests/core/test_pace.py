"""Allowances of CPU time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.pace import Pace


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@given(st.lists(st.floats(0.0001, 0.05), min_size=1, max_size=200), st.floats(0.01, 1))
def test_whoever_rests_as_told_takes_its_share_and_no_more(costs, share):
    clock = Clock()
    pace, spent = Pace(share, 0.1, clock), 0.0
    for cost in costs:
        clock.now += pace.spend(cost)
        spent += cost
        assert spent <= 0.1 + cost + share * clock.now + 1e-9


def test_a_burst_needs_no_rest_and_fills_up_again():
    clock = Clock()
    pace = Pace(0.05, 0.1, clock)
    assert pace.spend(0.1) == 0
    assert pace.spend(0.01) == pytest.approx(0.2)
    clock.now += 1000
    assert pace.spend(0.1) == 0
    assert pace.spend(0.1) == pytest.approx(2)


def test_no_rest_is_longer_than_the_longest():
    pace = Pace(0.05, 0.1, Clock(), longest=5)
    assert pace.spend(1000) == pytest.approx(5)


def test_what_is_given_back_is_there_again():
    pace = Pace(0.05, 0.1, Clock())
    pace.spend(0.1)
    pace.give_back(0.05)
    assert pace.spend(0.05) == 0


@pytest.mark.parametrize("share", [0.01, 1.0])
def test_a_rest_takes_as_long_as_it_was_said_to_whatever_becomes_of_the_share(share):
    clock = Clock()
    pace = Pace(0.1, 0.1, clock)
    assert pace.spend(0.4) == pytest.approx(3)
    clock.now += 1
    pace.change_share(share)
    assert pace.rest() == pytest.approx(2)
    clock.now += 2
    assert pace.rest() == pytest.approx(0)
