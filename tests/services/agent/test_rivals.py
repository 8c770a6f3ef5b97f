"""Two machines with one key: each is told so, and they take each other's place ever more seldom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent import rivalry
from meshloom_agent.files import StateDir
from meshloom_agent.rivalry import LONGEST, LONGEST_LOST, PEACE, SHORT, End, Rivalry

pytestmark = pytest.mark.anyio


def two_rivals(hours, end):
    """Two machines that replace each other; returns how often, and both."""
    one, two = Rivalry(random=lambda: 0.5), Rivalry(random=lambda: 0.4)
    now, kicks, (here, there) = 0.0, 0, (one, two)
    since = 0.0
    while now < hours * 3600:
        wait = there.ended(now, now - since, end)  # the other has just come
        kicks, since, now, (here, there) = kicks + 1, now, now + wait, (there, here)
    return kicks, one, two


def test_who_is_replaced_comes_back_ever_more_seldom_and_is_told_why():
    kicks, one, two = two_rivals(1, End.REPLACED)
    assert kicks < 40, "in an hour"
    for each in (one, two):
        assert "another machine seems to use this machine's key" in each.words


def test_where_the_server_does_not_explain_it_ends_right_after_success_are_no_success_either():
    kicks, one, _ = two_rivals(1, End.CLEAN)
    assert kicks < 300, "it was one each second"
    assert one.words


def test_one_restart_of_a_server_is_nothing():
    made = Rivalry(random=lambda: 0.5)
    assert made.ended(100.0, 5.0, End.CLEAN) < 1
    assert made.ended(200.0, 95.0, End.CLEAN) < 1
    assert made.words == ""


@pytest.mark.parametrize("end", [End.LOST, End.CLEAN])
def test_a_proxy_that_cuts_streams_after_a_minute_slows_nothing_down(end):
    made = Rivalry(random=lambda: 0.5)
    assert {made.ended(60.0 * number, 60.0, end) for number in range(1, 500)} == {0.8}
    assert made.words == ""


def test_after_peace_all_is_forgotten():
    made = Rivalry(random=lambda: 0.5)
    for number in range(20):
        made.ended(float(number), 1.0, End.REPLACED)
    assert made.ended(20 + 2 * PEACE, 2 * PEACE, End.LOST) == 0.8
    assert made.words == ""


@given(st.lists(st.tuples(st.floats(0, 2000), st.sampled_from(End)), max_size=60))
def test_waits_are_bounded(ends):
    made, now = Rivalry(), 0.0
    for stood, end in ends:
        now += stood
        assert 0.4 <= made.ended(now, stood, end) <= 1.5 * (LONGEST_LOST if end is End.LOST else LONGEST)


@given(st.lists(st.floats(0, 2000), max_size=60))
def test_connections_that_are_lost_are_no_other_machine_however_many_and_short(ends):
    made, now = Rivalry(), 0.0
    for stood in ends:
        now += stood
        assert made.ended(now, stood, End.LOST) <= 1.5 * LONGEST_LOST
        assert made.words == ""


@pytest.mark.parametrize("gap", [1.0, 2.0, 3.0, SHORT - 1])
def test_a_line_that_flaps_keeps_the_machine_away_for_seconds_only(gap):
    made = Rivalry(random=lambda: 0.5)
    assert max(made.ended(gap * number, gap, End.LOST) for number in range(1, 100)) == LONGEST_LOST
    made.ended(10_000.0, SHORT, End.LOST)
    assert made.ended(10_001.0, 1.0, End.LOST) < 2, "one that stood for longer starts it again"


def test_lost_connections_between_two_machines_hide_neither():
    made = Rivalry(random=lambda: 0.5)
    for now, end in enumerate((End.LOST, End.REPLACED) * 3):
        made.ended(float(now), 1.0, end)
    assert made.words


@pytest.mark.parametrize("end", End)
def test_a_machine_that_is_cut_for_weeks_has_a_wait_still(end):
    made = Rivalry(random=lambda: 0.5)
    assert {made.ended(float(now), 1.0, end) for now in range(5000)} >= {LONGEST_LOST if end is End.LOST else LONGEST}


async def test_a_copy_of_a_machine_becomes_one_of_its_own_as_it_is_told(joined, daemon, meshloom, management, until):
    assert "delete private.key" in rivalry.WORDS
    assert "meshloom logout --local" in rivalry.WORDS
    before = daemon.files.key().public
    (daemon.files.path / "private.key").unlink()
    assert (await meshloom("logout", "--local")).code == 0
    done = await meshloom("up", "--setup-key", "11111111-2222-3333-4444-555555555555")
    assert done.code == 0, done.err
    assert StateDir(daemon.files.path).key().public != before
