"""Turns in which maps are built: few are on their way at a time, and who does not read holds nobody up."""

import anyio
import pytest

from meshloom_management.turns import BURST, SENDING, Turns
from meshloom_management.urgency import Urgency

pytestmark = pytest.mark.anyio


class Reader:
    """A peer's connection; what is handed over waits until it reads."""

    def __init__(self, *, reads=False):
        self.reads, self.got = reads, []
        self.read = anyio.Event()

    def offer(self, message):
        self.got.append(message)
        return True

    async def written(self):
        if not self.reads:
            await self.read.wait()


def builds(size, built):
    def build():
        built.append(size)
        return bytes(size)

    return build


@pytest.fixture
def eventually():
    async def until(condition):
        with anyio.fail_after(10):
            while not condition():
                await anyio.sleep(0.002)

    return until


async def test_no_more_is_built_than_may_wait_for_the_network(eventually):
    turns, built, readers = Turns(100, patience=1000), [], [Reader() for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        for number, reader in enumerate(readers):
            tasks.start_soon(turns.send, f"p{number}", builds(40, built), reader)
        await eventually(lambda: len(built) == 3)
        await anyio.wait_all_tasks_blocked()
        assert len(built) == 3, "120 bytes wait: the third was begun when there was room"
        readers[1].read.set()
        await eventually(lambda: len(built) == 4)
        assert [len(reader.got) for reader in readers] == [1] * 4 + [0] * 16, "in the order of coming"
        for reader in readers:
            reader.read.set()
    assert len(built) == 20


async def test_peers_that_do_not_read_hold_nobody_up(eventually):
    turns, built = Turns(100, patience=0.02), []
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(turns.send, f"slow{number}", builds(40, built), Reader())
        quick = [Reader(reads=True) for _ in range(10)]
        for number, reader in enumerate(quick):
            tasks.start_soon(turns.send, f"quick{number}", builds(40, built), reader)
        await eventually(lambda: all(reader.got for reader in quick))
        tasks.cancel_scope.cancel()


async def test_a_peer_that_was_slow_takes_no_turn_until_it_has_read_in_time(eventually):
    turns, built = Turns(10, patience=0.02), []
    slow = Reader()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.send, "slow", builds(40, built), slow)
        await eventually(lambda: "slow" in turns._slow)
        slow.read.set()
    turns._patience = 1000
    again, other = Reader(), Reader(reads=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.send, "slow", builds(40, built), again)
        await eventually(lambda: again.got)
        with anyio.fail_after(10):
            await turns.send("other", builds(40, built), other)
        again.read.set()
    assert not turns._slow, "it has read in time"


async def test_a_turn_that_its_peer_does_not_wait_for_is_the_next_ones(eventually):
    turns, built, first, last = Turns(10, patience=1000), [], Reader(), Reader(reads=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.send, "first", builds(40, built), first)
        await eventually(lambda: first.got)
        async with anyio.create_task_group() as gone:
            gone.start_soon(turns.send, "gone", builds(40, built), Reader())
            await eventually(lambda: len(turns._waiting) == 1)
            tasks.start_soon(turns.send, "last", builds(40, built), last)
            await eventually(lambda: len(turns._waiting) == 2)
            first.read.set()
            gone.cancel_scope.cancel()
        await eventually(lambda: last.got)
    assert (len(built), turns._unsent, len(turns._waiting)) == (2, 0, 0)


async def test_where_there_is_nothing_new_the_next_has_its_turn():
    turns, reader = Turns(10), Reader(reads=True)
    await turns.send("one", lambda: None, reader)
    await turns.send("one", lambda: b"map", reader)
    assert reader.got == [b"map"]


async def test_a_map_that_cannot_be_built_is_nobodys_turn():
    turns, reader = Turns(10), Reader(reads=True)

    def fails():
        raise ValueError("no map")

    with pytest.raises(ValueError, match="no map"):
        await turns.send("one", fails, reader)
    await turns.send("two", lambda: b"map", reader)
    assert (reader.got, turns._unsent) == ([b"map"], 0)


class Work:
    """Maps that each take some CPU time; the network takes them at once."""

    def __init__(self, each):
        self.each, self.spent, self.built = each / SENDING, 0.0, []
        self.turns = Turns(cpu=lambda: self.spent)

    def send(self, tasks, name, urgency):
        def build():
            self.spent += self.each
            self.built.append(name)
            return b"map"

        tasks.start_soon(self.turns.send, name, build, Reader(reads=True), urgency)


async def test_what_is_urgent_goes_first(eventually):
    work = Work(0.001)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            for urgency in reversed(Urgency):
                work.send(tasks, f"{urgency.name}{number}", urgency)
    first, *others = work.built
    assert first == "GROWTH0", "nobody waited yet"
    assert [each[:-1] for each in others] == ["NOW"] * 5 + ["LOSS"] * 5 + ["CHANGE"] * 5 + ["GROWTH"] * 4


async def test_what_waits_can_become_more_urgent(eventually):
    work = Work(BURST)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            work.send(tasks, number, Urgency.GROWTH)
        await eventually(lambda: work.built)
        await anyio.wait_all_tasks_blocked()
        work.turns.hasten(19, Urgency.LOSS)
        work.turns.hasten(18, Urgency.NOW)
        work.turns.hasten(17, Urgency.GROWTH)
        await eventually(lambda: 19 in work.built)
        assert work.built.index(18) < work.built.index(19) < 5
        tasks.cancel_scope.cancel()
    assert not work.turns._waiting


async def test_many_maps_are_built_at_once_and_then_half_of_the_time_and_a_first_map_does_not_wait(eventually):
    work = Work(BURST / 10)
    async with anyio.create_task_group() as tasks:
        for number in range(15):
            work.send(tasks, number, Urgency.LOSS)
        await eventually(lambda: len(work.built) >= 10)
        assert len(work.built) < 15
        work.send(tasks, "first map", Urgency.NOW)
    assert work.built.index("first map") < 15
    assert [each for each in work.built if each != "first map"] == list(range(15))


async def test_what_others_need_does_not_wait_for_peers_that_come(eventually):
    work = Work(BURST / 4)
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            work.send(tasks, number, Urgency.GROWTH)
        await eventually(lambda: len(work.built) >= 4)
        work.send(tasks, "change", Urgency.CHANGE)
        await eventually(lambda: "change" in work.built)
        assert len(work.built) < 7
        tasks.cancel_scope.cancel()
    assert not work.turns._waiting


async def test_a_turn_is_given_to_one_at_a_time(eventually):
    work = Work(BURST)
    async with anyio.create_task_group() as tasks:
        for number in range(10):
            work.send(tasks, number, Urgency.CHANGE)
        await eventually(lambda: work.built)
        await anyio.wait_all_tasks_blocked()
        assert len(work.built) <= 2, "what one costs is known before the next is begun"
        tasks.cancel_scope.cancel()
