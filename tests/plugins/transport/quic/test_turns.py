"""The allowance of CPU time of all that are not admitted: when work is done, and when it waits."""

import asyncio

import pytest

from meshloom.pace import Pace
from meshloom_transport_quic.fairness import WAITING, Source
from meshloom_transport_quic.turns import LONGEST_REST, SLICE, Turns

pytestmark = pytest.mark.anyio

COST = 0.002
NEWCOMER = Source(b"newcomer", b"newcomer")


class Worked:
    """Turns whose work costs CPU time that no clock of this machine counts."""

    def __init__(self, share=0.2, burst=0.1):
        self.now, self.cpu, self.done, self.late = 0.0, 0.0, [], []
        pace = Pace(share, burst, lambda: self.now, LONGEST_REST)
        self.turns = Turns(self.run, self.late.append, pace, lambda: self.now, lambda: self.cpu)

    def run(self, work):
        self.done.append(work)
        self.cpu += COST

    async def iteration(self):
        """One of the event loop."""
        await asyncio.sleep(0)

    async def pass_by(self, seconds):
        """Time of the allowance's clock, in which the event loop is as quick as it is."""
        steps = round(seconds / COST)
        for _ in range(steps):
            self.now += seconds / steps
            if self.turns._later is not None:
                self.turns._later.cancel()
            self.turns._run()


def attacker(number):
    return Source(b"attacker", b"%d" % (number % 256))


async def test_work_is_done_at_once_while_there_is_time_for_it():
    worked = Worked()
    worked.turns.offer("a", NEWCOMER)
    assert worked.done == ["a"]


async def test_one_iteration_of_the_event_loop_does_a_slice_of_it_and_no_more():
    worked = Worked()
    for number in range(20):
        worked.turns.offer(number, attacker(number))
    before = 0.0
    while worked.turns:
        assert worked.cpu - before <= SLICE + COST
        before = worked.cpu
        await worked.iteration()
    assert worked.done == list(range(20))


@pytest.mark.parametrize("sources", [1, 40, 256])
async def test_all_sources_together_have_one_allowance_and_a_newcomer_is_next(sources):
    worked = Worked()
    for number in range(2000):
        worked.turns.offer(number, attacker(number % sources))
        if number % 4 == 0:
            await worked.pass_by(0.01)
    assert worked.cpu <= 0.1 + 0.2 * worked.now + COST
    assert worked.cpu >= 0.2 * worked.now * 0.9, "the allowance was not used"
    assert worked.turns.is_short
    assert len(worked.turns) == WAITING
    before = len(worked.done)
    worked.turns.offer("newcomer", NEWCOMER)
    await worked.pass_by(3 * COST / 0.2)
    assert "newcomer" in worked.done[before : before + 2]
    worked.turns.close()


async def test_what_waited_too_long_is_told_and_not_done():
    worked = Worked(burst=COST / 2)
    worked.turns.offer("first", NEWCOMER)
    worked.turns.offer("second", NEWCOMER)
    worked.turns.offer("third", NEWCOMER)
    worked.now += 60
    await worked.pass_by(1)
    assert (worked.done, worked.late) == (["first"], ["second", "third"])


async def test_a_failure_costs_what_it_took_and_stops_nobody():
    worked = Worked()

    def fail():
        worked.cpu += 1
        raise ValueError

    with pytest.raises(ValueError):
        worked.turns.pay(fail, NEWCOMER)
    assert worked.turns.is_short
    worked.turns.offer("next", NEWCOMER)
    worked.now += 0.9
    await worked.pass_by(0.2)
    assert worked.done == ["next"]
