"""Streams that wait: bounded for a key, for a network and for all."""

import anyio
import pytest

from meshloom_signal import contenders as module
from meshloom_signal.contenders import PER_KEY, Contender, Contenders

pytestmark = pytest.mark.anyio


@pytest.fixture
def table():
    return Contenders()


def entered(table, key, source):
    contender = Contender(table, key, source, None)
    table.add(contender)
    return contender


def test_a_newer_one_of_the_same_network_takes_the_place(table):
    old, new = entered(table, "key", "net"), entered(table, "key", "net")
    assert (old.gave_way, new.gave_way) == (True, False)
    assert list(table.of("key")) == [new]
    table.discard(old)
    assert list(table.of("key")) == [new]


def test_others_keep_theirs(table):
    others = [entered(table, "key", "other net"), entered(table, "other key", "net")]
    for _ in range(10):
        entered(table, "key", "net")
    assert not any(each.gave_way for each in others)
    assert len(table) == 3


def test_of_one_key_the_oldest_gives_way(table):
    first = entered(table, "key", "first")
    for number in range(PER_KEY):
        entered(table, "key", str(number))
    assert first.gave_way
    assert len(table) == PER_KEY


def test_of_all_the_oldest_gives_way(table, monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    every = [entered(table, str(number), "net") for number in range(8)]
    assert [each.gave_way for each in every] == [True] * 3 + [False] * 5
    assert len(table) == 5


async def test_who_gives_way_waits_no_longer(table):
    with Contender(table, "key", "net", None) as contender, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            with contender.wait(60):
                tasks.start_soon(_end, table)
                await anyio.sleep_forever()
    assert contender.gave_way
    assert len(table) == 0


async def _end(table):
    table.end("key")
