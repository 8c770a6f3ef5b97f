"""Moments of handshakes, whatever somebody does to the machine's clock."""

from datetime import UTC, datetime, timedelta

from meshloom.model.keys import PrivateKey
from meshloom.tunnel import PeerStats
from meshloom_agent.backoff import Backoff
from meshloom_agent.handshakes import Handshakes

KEY = PrivateKey.of(bytes(32)).public
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(moment):
    return {KEY: PeerStats(latest_handshake=moment)}


def test_the_first_look_goes_by_the_clock():
    assert Handshakes().observe(at(NOON - MINUTE), NOON, 1000.0) == {KEY: 940.0}
    assert Handshakes().observe(at(None), NOON, 1000.0) == {KEY: None}


def test_a_clock_that_jumps_ages_no_handshake():
    handshakes = Handshakes()
    handshakes.observe(at(NOON), NOON, 1000.0)
    assert handshakes.observe(at(NOON), NOON + timedelta(days=300), 1030.0) == {KEY: 1000.0}
    assert handshakes.observe(at(NOON), NOON - timedelta(days=300), 1060.0) == {KEY: 1000.0}


def test_another_date_is_a_new_handshake_even_one_that_lies_before():
    handshakes = Handshakes()
    handshakes.observe(at(NOON), NOON, 1000.0)
    assert handshakes.observe(at(NOON - MINUTE), NOON, 1030.0) == {KEY: 1030.0}


def test_a_date_in_the_future_is_now():
    assert Handshakes().observe(at(NOON + MINUTE), NOON, 1000.0) == {KEY: 1000.0}


def test_waits_grow_up_to_the_longest_and_begin_anew():
    backoff = Backoff(random=lambda: 0.5)
    waits = [backoff.next() for _ in range(10)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.8, 10.0)
    backoff.reset()
    assert backoff.next() == 0.8


def test_waits_are_spread():
    assert len({Backoff().next() for _ in range(20)}) > 15


def test_a_server_that_is_away_for_weeks_is_asked_still():
    backoff = Backoff(random=lambda: 0.5)
    assert [backoff.next() for _ in range(100_000)][-1] == backoff.longest
