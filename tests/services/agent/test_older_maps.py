"""A number far too high, or a restored server, shuts out later maps for some hours, and a recording stays refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent import older_maps, sync
from meshloom_agent.backoff import Backoff
from meshloom_agent.older_maps import BELIEVED_AFTER, OlderMaps
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

HIGHEST = 2**64 - 1
HOUR = 3600.0
assert BELIEVED_AFTER == 3 * HOUR


@pytest.mark.parametrize(
    ("maps", "believed"),
    [
        ([(0, 50)], False),
        ([(0, 50), (2.9, 50)], False),
        ([(0, 50), (3, 50)], True),
        ([(0, 50), (1, 51), (2, 51), (3, 60)], True),
        ([(0, 50), (2, 100), (3, 50)], False),  # the server was heard in between
        ([(0, 50), (2, 101), (3, 50)], False),
        ([(0, 50), (2, 40), (3, 41)], False),  # which no server does
        ([(0, 50), (2, 40), (5, 41)], True),
        ([(0, 50), (3, 50), (3.1, 50)], False),  # begins again, if it was not taken over
    ],
)
def test_maps_with_lower_numbers_are_believed_once_a_server_has_told_nothing_else_for_hours(maps, believed):
    older = OlderMaps()
    assert [older.are_believed(serial, 100, hours * HOUR) for hours, serial in maps][-1] is believed


@given(st.lists(st.tuples(st.floats(0, BELIEVED_AFTER - 1), st.integers(0, HIGHEST)), max_size=20))
def test_nothing_older_is_believed_at_once(maps):
    older = OlderMaps()
    assert not any(older.are_believed(serial, HIGHEST, now) for now, serial in sorted(maps))


@given(st.integers(1, HIGHEST), st.integers(0, HIGHEST))
def test_no_number_shuts_later_maps_out_for_ever(newest, serial):
    older, serial = OlderMaps(), min(serial, newest - 1)
    older.are_believed(serial, newest, 0.0)
    assert older.are_believed(serial, newest, BELIEVED_AFTER)


@pytest.fixture
async def up(joined, daemon, until, monkeypatch):
    monkeypatch.setattr(sync, "Backoff", lambda **_: Backoff(first=0.1, longest=0.5))
    await until(lambda: daemon.report.state == CONNECTED and daemon.files.last_map() is not None)
    return daemon


async def shut_out(up, management, until):
    """One map has the highest number that there is, and those after it are refused."""
    own = up.files.key().public.text
    management.tell(own, management.map_of(own, [], serial=HIGHEST))
    await until(lambda: up.files.last_map().NetworkMap.Serial == HIGHEST)
    management.everyone()
    await until(lambda: up.report.refused.get("network map"))
    assert f"is older than {HIGHEST}" in up.report.warnings[0]


async def test_one_map_of_the_highest_number_shuts_nothing_out_for_ever(up, management, until, monkeypatch):
    monkeypatch.setattr(older_maps, "BELIEVED_AFTER", 0.5)
    monkeypatch.setattr(sync, "BELIEVED_AFTER", 0.5)
    await shut_out(up, management, until)
    await until(lambda: not up.report.warnings, 20)  # though the server has nothing new to tell
    await until(lambda: up.files.last_map().NetworkMap.Serial == management.serial)
    assert management.serial < HIGHEST


async def test_until_then_it_says_so_and_another_stream_changes_nothing(up, management, until):
    await shut_out(up, management, until)
    refused, lost = up.report.counters.refused_maps, up.report.counters.lost["management"]
    await management.stop()
    await until(lambda: up.report.counters.lost["management"] > lost)
    await management.start()
    await until(lambda: up.report.counters.refused_maps > refused, 20)
    assert up.files.last_map().NetworkMap.Serial == HIGHEST
    assert "--accept-server-key" in up.report.warnings[0]
