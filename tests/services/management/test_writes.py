"""Writes that come while another is being stored are stored together, and none of them notices."""

from contextlib import asynccontextmanager

import anyio
import pytest

from meshloom.errors import Conflict, StoreUnavailable
from meshloom.model.peer import Peer
from meshloom.store import Store
from meshloom.testing import samples
from meshloom_management.accounts import Accounts
from meshloom_management.errors import InvalidArgument, NotFound
from meshloom_management.operations import enrolment, groups, peers

pytestmark = pytest.mark.anyio


class WaitingStore(Store):
    """Another store whose transactions commit when they are let, and are counted."""

    def __init__(self, inner):
        self.inner, self.open, self.transactions, self.fail = inner, anyio.Event(), 0, None
        self.open.set()

    @asynccontextmanager
    async def transaction(self):
        await self.open.wait()
        async with self.inner.transaction() as transaction:
            self.transactions += 1
            yield transaction
            if self.fail is not None:
                raise self.fail

    async def backup(self, file):
        await self.inner.backup(file)


@pytest.fixture
async def store(store):
    return WaitingStore(store)


async def together(store, *calls):
    """What each call gave or raised, all made while a first transaction waited; the number of further ones."""
    results = [None] * len(calls)

    async def one(number):
        try:
            results[number] = await calls[number]()
        except Exception as error:  # noqa: BLE001 - the tests look at it
            results[number] = error

    store.open = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(len(calls)):
            tasks.start_soon(one, number)
            await anyio.wait_all_tasks_blocked()
        before = store.transactions
        store.open.set()
    return results, store.transactions - before


def making(account, name):
    return lambda: account.change(lambda draft: groups.create(draft, name, []))


async def in_store(store, clock):
    async with Accounts.open(store, clock=clock) as again:
        (state,) = again.all().values()
        return state


async def test_those_that_wait_share_one_transaction(account, store, clock):
    made, transactions = await together(store, *[making(account, f"g{number}") for number in range(20)])
    assert transactions == 2  # the first one's own, and one for all others
    assert {group.name for group in made} <= {group.name for group in account.state.groups.values()}
    assert (await in_store(store, clock)).groups == account.state.groups


async def test_the_one_that_refuses_leaves_no_trace(account, store, clock):
    def half(draft):
        groups.create(draft, "half", [])
        enrolled = next(iter(draft.state.peers))
        draft.delete(Peer, enrolled)
        groups.create(draft, "more", [])
        raise InvalidArgument("no")

    await account.enrol("one")
    before = account.state
    (_, left, refused, right), _ = await together(
        store, making(account, "first"), making(account, "left"), lambda: account.change(half), making(account, "right")
    )
    assert isinstance(refused, InvalidArgument)
    assert {left.id, right.id} < account.state.groups.keys()
    assert {group.name for group in account.state.groups.values()} == {"All", "first", "left", "right"}
    assert account.state.peers == before.peers
    assert account.state.all_group.peers == account.state.peers.keys()
    assert (await in_store(store, clock)).groups == account.state.groups


async def test_each_is_written_alone_where_together_they_conflict(account, store, clock):
    """Two peers with one key: the store refuses the second."""

    def conflicting(name):
        key = samples.public_key("same")
        peer = samples.peer(name, account_id=account.id, key=key)
        return lambda: account.change(lambda draft: draft.put(peer))

    (_, one, good, two), _ = await together(
        store, making(account, "first"), conflicting("p1"), making(account, "good"), conflicting("p2")
    )
    assert one is None
    assert good.id in account.state.groups
    assert isinstance(two, Conflict)
    assert account.state.peers.keys() == {"p1"}
    assert (await in_store(store, clock)).peers.keys() == {"p1"}


async def test_a_store_that_fails_fails_all_of_them(account, store, clock):
    before = account.state
    store.fail = StoreUnavailable("the disk is full")
    results, _ = await together(store, *[making(account, f"g{number}") for number in range(4)])
    assert all(isinstance(result, StoreUnavailable) for result in results)
    assert account.state is before
    store.fail = None
    assert await making(account, "again")()


async def test_a_machine_that_asks_twice_at_once_is_one_peer(account, store):
    _, transactions = await together(store, making(account, "first"), *[lambda: account.enrol("one")] * 4)
    assert transactions == 2
    assert len(account.state.peers) == 1


async def test_a_machine_may_leave_and_return_at_once(account, accounts, store):
    old = await account.enrol("one")
    leaving = lambda: enrolment.log_out(accounts, samples.public_key("one"))  # noqa: E731
    again = enrolment.Login(key=old.key, meta=old.meta, setup_key=account.key)

    def enrol(draft):
        (key,) = draft.state.setup_keys.values()
        enrolment.enrol(draft, key, again)

    results, _ = await together(store, making(account, "first"), leaving, lambda: account.change(enrol))
    assert not any(isinstance(result, Exception) for result in results)
    assert accounts.find_peer(old.key)[1].id != old.id
    assert len(account.state.peers) == 1


async def test_a_peer_removed_twice_is_missed_by_the_second(account, store):
    peer = await account.enrol("one")
    remove = lambda: account.change(lambda draft: peers.delete(draft, peer.id))  # noqa: E731
    (_, first, second), _ = await together(store, making(account, "first"), remove, remove)
    assert first is None
    assert isinstance(second, NotFound)


async def test_the_listeners_hear_of_them_as_one_change(account, accounts, store):
    heard = []
    await account.enrol("zero")
    accounts.listen(lambda before, after, change: heard.append((before, after, change)))
    await together(store, making(account, "first"), *[lambda n=n: account.enrol(n) for n in ("one", "two", "three")])
    _, (before, after, change) = heard
    assert len(change.peers) == 3
    assert after.account.serial == before.account.serial + 1
    assert after is account.state
