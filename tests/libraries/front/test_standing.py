"""Connections that a service has accepted though nobody knows their callers: what they share, and with whom."""

import asyncio
import itertools

import anyio
import pytest

from meshloom_front.callers import BURST, STANDING_BURST, STANDING_SHARE, Caller, Callers

pytestmark = pytest.mark.anyio
TAKES = 8 << 10


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def callers(now):
    return Callers(clock=lambda: now[0])


@pytest.fixture
def connect(callers):
    numbers = itertools.count(1)

    def connect(*, accepted=False, measure=int, end=lambda: None):
        caller = Caller(callers, f"192.0.2.{next(numbers)}", TAKES, measure, end)
        if accepted:
            caller.accept()
        return caller

    return connect


async def test_they_have_one_allowance_together_and_take_nothing_of_the_strangers(callers, connect):
    many = [connect(accepted=True) for _ in range(100)]
    for caller in many:
        caller.spend(BURST)
    assert not any(caller.may_go_on() for caller in many)
    assert callers.standing.pace.rest() > 0
    assert connect().may_go_on()
    assert callers.turns.pace.rest() == 0


async def test_what_strangers_take_costs_them_nothing(connect):
    for _ in range(100):
        connect().spend(BURST)
    assert connect(accepted=True).may_go_on()
    assert not connect().may_go_on()


async def test_together_they_take_their_share_and_no_more(now, callers, connect):
    many, spent, cost = [connect(accepted=True) for _ in range(40)], 0.0, 0.01
    begin = now[0]

    def work(caller):
        def run():
            nonlocal spent
            spent += cost
            caller.spend(cost)
            caller.wait(run)

        return run

    for caller in many:
        caller.wait(work(caller))
    while now[0] < begin + 60:
        now[0] += 0.05
        callers.standing._soon()
        for _ in range(3):
            await asyncio.sleep(0)
    assert 0 < spent <= STANDING_BURST + STANDING_SHARE * 60 + cost


async def test_one_that_has_had_little_is_next(now, callers, connect):
    many, done = [connect(accepted=True) for _ in range(40)], []
    for caller in many:
        caller.spend(BURST)
        caller.wait(lambda: done.append("busy"))
    quiet = connect(accepted=True)
    quiet.wait(lambda: done.append("quiet"))
    now[0] += callers.standing.pace.rest() + 0.01
    with anyio.fail_after(5):
        while not done:
            callers.standing._soon()
            await asyncio.sleep(0)
    assert done[0] == "quiet"


async def test_they_are_bounded_in_memory_by_themselves(callers, connect):
    budget, ended = callers.budget, []
    budget.standing.limit = 10 * TAKES
    made = [connect(accepted=True, end=lambda n=n: ended.append(n)) for n in range(20)]
    assert budget.strangers.size == 0
    assert 0 < budget.standing.size <= budget.standing.limit
    assert len(ended) >= 10
    assert len(made) - len(ended) == len(budget.standing.holdings)


async def test_when_the_last_stream_ends_that_was_accepted_they_are_strangers_again(callers, connect):
    caller = connect(accepted=True)
    caller.accept()
    caller.release()
    assert caller not in callers.new
    caller.release()
    assert caller in callers.new
    assert (len(callers.accepted), callers.budget.standing.size) == (0, 0)
