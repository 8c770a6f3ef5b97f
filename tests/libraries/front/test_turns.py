"""Whose turn it is among strangers."""

import asyncio
import time
from itertools import count, pairwise

import anyio
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from meshloom.pace import Pace
from meshloom.testing.loops import forgiving
from meshloom_front import turns as module
from meshloom_front.turns import (
    ARREARS,
    CONNECTION_TRICKLE,
    CREDIT,
    FURTHEST,
    NETWORK_PATIENCE,
    REMEMBERED,
    SLICE,
    Network,
    Rank,
    Turns,
)

pytestmark = pytest.mark.anyio
PLENTY = 1.0, 100.0, time.monotonic
NOTHING = 1e-9, 0.0, time.monotonic
"""An allowance that never comes again."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"loop_factory": forgiving(uvloop.Loop if request.param else asyncio.SelectorEventLoop)}


async def some_iterations():
    """Of the event loop."""
    for _ in range(20):
        await asyncio.sleep(0)


class Queue:
    """Turns, and what was done in them."""

    def __init__(self, clock=time.monotonic):
        self.turns = Turns(Pace(*PLENTY), lambda: Pace(*PLENTY), clock)
        self.done = []

    def wait(self, what, network, rank=None, costs=0.0):
        network = self.turns.network(network)

        def run():
            self.done.append(what)
            self.turns.spend(network, costs)

        return self.turns.wait(network, rank, run)

    def used(self, network, seconds):
        rank = Rank(CONNECTION_TRICKLE)
        self.turns.spend(self.turns.network(network), seconds, rank)
        return rank

    async def all_done(self, number):
        with anyio.fail_after(10):
            while len(self.done) < number:
                await asyncio.sleep(0)
        return self.done


async def test_a_newcomer_comes_before_all_who_have_had_something():
    queue = Queue()
    for number in range(100):
        queue.wait("old", "one", queue.used("one", 0.001 * (1 + number % 7)))
    queue.wait("newcomer of the same network", "one", queue.used("one", 0))
    queue.wait("newcomer", "another")
    assert (await queue.all_done(102))[:2] == ["newcomer", "newcomer of the same network"]


async def test_a_newcomer_has_the_turns_of_a_login_before_many_networks_of_which_each_gets_little():
    now = [1000.0]
    queue = Queue(lambda: now[0])
    cost, turns = 0.003, 6

    def again(network):
        def run():
            queue.done.append(network)
            queue.turns.spend(queue.turns.network(network), cost)
            now[0] += 2 * cost
            if network != "newcomer" or queue.done.count(network) < turns:
                queue.turns.wait(queue.turns.network(network), None, run)

        queue.turns.wait(queue.turns.network(network), None, run)

    many = 200
    for number in range(many):
        again(str(number))
    await queue.all_done(int(many * CREDIT / cost) + many)
    before = len(queue.done)
    again("newcomer")
    await queue.all_done(before + many)
    turns_had = [place for place, who in enumerate(queue.done[before:]) if who == "newcomer"]
    assert len(turns_had) == turns
    assert turns_had[-1] < 3 * turns


async def test_the_order_of_connections_is_that_of_what_they_have_had():
    queue = Queue()
    ranks = {used: queue.used("one", used) for used in (0.003, 0.001, 0.004, 0.002)}
    for used, rank in ranks.items():
        queue.wait(used, "one", rank)
    assert await queue.all_done(4) == sorted(ranks)


async def test_who_has_waited_long_enough_is_passed_over_by_nobody():
    now = [1000.0]
    queue = Queue(lambda: now[0])
    heavy = queue.used("one", 10.0)
    now[0] += 1
    queue.wait("heavy", "one", heavy)
    now[0] += max(FURTHEST, (CREDIT + ARREARS) / NETWORK_PATIENCE)
    queue.wait("newcomer", "one")
    queue.wait("newcomer of another network", "another")
    assert (await queue.all_done(3))[0] == "heavy"


async def test_what_comes_is_done_at_once_only_where_nobody_waits_and_there_is_time():
    queue = Queue()
    one, other = queue.turns.network("one"), queue.turns.network("another")
    assert queue.turns.is_free(one)
    queue.wait("first", "one")
    assert not queue.turns.is_free(other)
    await queue.all_done(1)
    assert queue.turns.is_free(other)
    queue.turns.spend(one, SLICE)
    assert not queue.turns.is_free(other), "in this iteration of the loop"
    await some_iterations()
    assert queue.turns.is_free(other)
    one.pace = Pace(*NOTHING)
    one.pace.spend(1e-6)
    assert not queue.turns.is_free(one)
    assert queue.turns.is_free(other)


async def test_one_iteration_of_the_loop_does_a_slice_and_no_more():
    queue = Queue()
    for number in range(20):
        queue.wait(number, str(number), costs=SLICE / 2)
    seen = []
    while len(queue.done) < 20:
        seen.append(len(queue.done))
        await asyncio.sleep(0)
    assert max(after - before for before, after in pairwise(seen)) <= 2


async def test_nobody_has_a_turn_while_all_together_have_had_too_much():
    queue = Queue()
    queue.turns.pace = Pace(*NOTHING)
    queue.turns.pace.spend(1e-6)
    queue.wait("one", "one")
    await some_iterations()
    assert not queue.done
    queue.turns.pace = Pace(*PLENTY)
    queue.wait("another", "another")
    assert await queue.all_done(2) == ["one", "another"]


async def test_a_network_that_has_had_too_much_waits_and_others_do_not():
    queue = Queue()
    one = queue.turns.network("one")
    one.pace = Pace(1.0, 0.0, time.monotonic)
    one.pace.spend(0.05)
    queue.wait("late", "one")
    for number in range(5):
        queue.wait(number, "another")
    assert await queue.all_done(6) == [*range(5), "late"]


async def test_many_connections_of_one_network_may_cost_so_many_times_what_one_may():
    now = [0.0]
    network = Network("one", Pace(0.1, 0.0, lambda: now[0]))
    for change, share in ((1, 0.1), (1, 0.2), (2, 0.4), (-3, 0.1), (-1, 0.1)):
        network.count(change)
        now[0] += network.pace.rest()
        assert network.pace.spend(1.0) == pytest.approx(1 / share)


async def test_a_network_rests_no_longer_once_the_connections_are_gone_that_made_it_rest():
    now = [0.0]
    network = Network("one", Pace(0.04, 0.0, lambda: now[0], longest=10.0))
    network.count(300)
    network.spend(1000.0, 0.0)
    network.count(-300)
    assert network.pace.rest() == pytest.approx(10.0)


async def test_what_fails_keeps_nobody_from_a_turn(caplog):
    queue = Queue()

    def fail():
        raise ZeroDivisionError

    queue.turns.wait(queue.turns.network("one"), None, fail)
    queue.wait("next", "one")
    queue.wait("another", "another")
    assert sorted(await queue.all_done(2)) == ["another", "next"]
    assert "ZeroDivisionError" in caplog.text


async def test_turns_that_are_taken_back_leave_nothing():
    queue = Queue()
    queue.turns.pace = Pace(*NOTHING)
    queue.turns.pace.spend(1e-6)
    network = queue.turns.network("one")
    for _ in range(10_000):
        queue.wait("never", "one").cancel()
    assert len(network.waiting) <= module.CANCELLED + 1
    queue.turns.pace = Pace(*PLENTY)
    queue.wait("last", "one")
    assert await queue.all_done(1) == ["last"]


async def test_few_networks_are_remembered_and_what_is_used_stays():
    queue = Queue()
    kept = queue.turns.network("kept")
    for number in range(2 * REMEMBERED):
        queue.turns.network(str(number))
        if number % 1000 == 0:
            assert queue.turns.network("kept") is kept
    assert len(queue.turns._networks) == REMEMBERED


STEPS = st.lists(
    st.tuples(st.sampled_from(["wait", "wait", "cancel", "spend", "step"]), st.integers(0, 5), st.floats(0, 0.004)),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_each_turn_is_had_once_unless_it_was_taken_back(steps):
    async def run():
        queue, numbers, open_turns, wanted = Queue(), count(), {}, set()
        ranks = [Rank(CONNECTION_TRICKLE) for _ in range(6)]
        for what, which, seconds in steps:
            if what == "wait":
                number = next(numbers)
                open_turns[number] = queue.wait(number, str(which % 3), ranks[which], costs=seconds)
                wanted.add(number)
            elif what == "cancel" and open_turns:
                number, turn = open_turns.popitem()
                if number not in queue.done:
                    wanted.discard(number)
                turn.cancel()
            elif what == "spend":
                queue.turns.spend(queue.turns.network(str(which % 3)), seconds, ranks[which])
            else:
                await asyncio.sleep(0)
        await queue.all_done(len(wanted))
        await some_iterations()
        assert sorted(queue.done) == sorted(wanted)

    asyncio.run(run())
