"""Which networks connect directly, in the simulated network: as reasoning says, and as the documentation says."""

from pathlib import Path

import pytest

from meshloom_agent.testing.grid import NEEDS_RELAY, arrangements, document, matrix

PAGE = Path(__file__).parents[4] / "docs/explanation/which-networks-connect.md"
SOON = 0.25
"""Virtual seconds, at 10 ms from host to host: signal, STUN, checks, and for symmetric NATs one round more."""
PING = 0.1
FIRST_PING = 0.4
TOLD = 5.0


@pytest.fixture(scope="module")
def rows():
    return matrix()


@pytest.fixture(scope="module")
def named():
    return list(arrangements())


@pytest.fixture(scope="module")
def fields(rows, named):
    return [field for row in rows for field in row] + named


def test_what_can_be_direct_is_and_nothing_else(fields):
    assert [field.name for field in fields if field.outcome.is_direct is not field.should_be_direct] == []
    assert sum(field.should_be_direct for field in fields) == 45 + 12
    assert len(fields) == 81 + 19


def test_a_direct_path_comes_soon_and_carries_a_ping_at_once(fields):
    for field in fields:
        if field.should_be_direct:
            assert field.outcome.connected <= SOON, field.name
            assert field.outcome.ping <= PING, field.name
            assert field.outcome.path.state == "Connected", field.name


def test_where_none_can_exist_both_sides_soon_say_that_a_relay_is_needed(fields):
    for field in fields:
        if not field.should_be_direct:
            assert field.outcome.told is not None, field.name
            assert field.outcome.told <= TOLD, field.name
            assert NEEDS_RELAY in field.outcome.path.reason, field.name


def test_with_a_relay_all_reach_each_other_at_once_and_directly_just_where_that_can_be(fields):
    for field in fields:
        assert field.relayed.ping <= FIRST_PING, field.name
        assert field.relayed.later <= PING, field.name
        assert field.relayed.is_direct is field.should_be_direct, field.name
        assert field.relayed.changes <= 2 * field.should_be_direct, f"{field.name}: each side changes once at the most"


def test_the_documentation_has_the_same_table(rows, named):
    assert PAGE.read_text() == document(rows, named), (
        f"run: .venv/bin/python -m meshloom_agent.testing.grid > docs/explanation/{PAGE.name}"
    )
