"""Streams of one peer that replace each other again and again are said in one plain line."""

import pytest

from meshloom_management.rivals import MANY, MOST, SAID_EVERY, WITHIN, Rivals


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def rivals(clock):
    return Rivals(lambda: clock[0])


def said(caplog):
    return [each.getMessage() for each in caplog.records]


def test_two_machines_with_one_key_are_said_once_an_hour_with_where_they_are(rivals, clock, caplog):
    for _ in range(500):
        clock[0] += 1.0
        rivals.replaced("id", "laptop", "192.0.2.1", "192.0.2.2")
    (line,) = said(caplog)
    assert "two machines seem to use the key of laptop" in line
    assert "from 192.0.2.1 and from 192.0.2.2" in line
    assert "delete private.key" in line
    clock[0] += SAID_EVERY
    for _ in range(MANY):
        rivals.replaced("id", "laptop", "192.0.2.1", "192.0.2.2")
    assert len(said(caplog)) == 2


def test_a_machine_that_reconnects_now_and_then_is_nothing(rivals, clock, caplog):
    for _ in range(100):
        clock[0] += WITHIN / (MANY - 1) + 1
        rivals.replaced("id", "laptop", "192.0.2.1", "192.0.2.1")
    assert said(caplog) == []


def test_what_is_remembered_is_bounded(rivals):
    for number in range(2 * MOST):
        rivals.replaced(f"id {number}", "laptop", "192.0.2.1", "192.0.2.2")
    assert len(rivals._peers) == MOST
