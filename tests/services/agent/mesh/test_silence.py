"""Paths over which WireGuard does not shake hands are given up, but ever more slowly."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent.mesh.silence import LONGEST, Silence

DAY = 86400.0


def restarts(silence, *, latest=None, since=0.0, until=DAY, every=30.0):
    found, now = [], since
    while now < until:
        now += every
        if silence.is_dead(latest, since, now):
            found.append(now)
    return found


def test_what_never_shakes_hands_is_begun_anew_at_growing_distances():
    times = restarts(Silence(210.0))
    assert times[0] == 240.0
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == sorted(gaps)
    assert max(gaps) <= LONGEST + 30
    assert len(times) < 32, "a day of it"


def test_a_handshake_makes_the_next_silence_a_first_one():
    silence = Silence(210.0)
    restarts(silence, until=5000.0)
    assert not silence.is_dead(5000.0, 0.0, 5010.0)
    assert restarts(silence, latest=5000.0, since=5010.0, until=6000.0)[0] <= 5010.0 + 240.0


@given(st.lists(st.tuples(st.floats(1, 400), st.booleans()), max_size=60))
def test_a_path_is_never_given_up_while_hands_are_shaken(steps):
    silence, now, latest = Silence(210.0), 0.0, 0.0
    for pause, shakes in steps:
        now += pause
        latest = now if shakes else latest
        assert not (silence.is_dead(latest, 0.0, now) and now - latest <= 210.0)
