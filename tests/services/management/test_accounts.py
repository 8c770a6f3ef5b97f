"""What is in memory is what is stored, whatever fails in between."""

from contextlib import asynccontextmanager
from ipaddress import IPv4Network

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshloom.errors import StoreUnavailable
from meshloom.memory_store import meshloom_stores
from meshloom.model.group import Group
from meshloom.model.setup_key import SetupKey
from meshloom.model.state import ENTITIES, Taken
from meshloom.store import Store, StoreContext
from meshloom.testing import samples
from meshloom_management.accounts import Accounts
from meshloom_management.errors import InvalidArgument
from meshloom_management.operations import groups, peers
from meshloom_management.operations.addresses import readdress

pytestmark = pytest.mark.anyio


class FailingStore(Store):
    """Another store that fails when told: before the transaction, within it, when it commits, or after that."""

    def __init__(self, inner):
        self.inner, self.fail = inner, None

    @asynccontextmanager
    async def transaction(self):
        self._perhaps("begin")
        async with self.inner.transaction() as transaction:
            yield transaction
            self._perhaps("commit")

    async def backup(self, file):
        await self.inner.backup(file)

    def _perhaps(self, moment):
        if self.fail == moment:
            raise StoreUnavailable("the disk is full")


@pytest.fixture
async def store(store):
    return FailingStore(store)


def contents(state):
    return [attrs.asdict(state, recurse=False)]


async def stored(store, clock):
    async with Accounts.open(store, clock=clock) as again:
        (state,) = again.all().values()
        return contents(state)


@pytest.mark.parametrize("moment", ["begin", "commit"])
async def test_a_write_that_is_not_stored_has_not_been(account, accounts, store, clock, moment):
    heard = []
    accounts.listen(lambda before, after, change: heard.append(change))
    before = account.state
    store.fail = moment
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await account.enrol("one")
    store.fail = None
    assert account.state is before
    assert not heard
    assert accounts.find_peer(samples.public_key("one")) is None
    assert await stored(store, clock) == contents(before)
    assert await account.enrol("one")


async def test_a_refusal_in_the_middle_writes_nothing(account, store, clock):
    before = account.state

    def half(draft):
        groups.create(draft, "made", [])
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument):
        await account.change(half)
    assert account.state is before
    assert await stored(store, clock) == contents(before)


async def test_a_draft_sees_its_own_writes_and_nobody_else_does(account):
    def look(draft):
        made = groups.create(draft, "made", [])
        assert draft.state.groups[made.id] is made
        assert made.id not in account.state.groups
        seen = draft.state
        draft.delete(Group, made.id)
        assert made.id in seen.groups
        assert made.id not in draft.state.groups

    before = account.state
    await account.change(look)
    assert account.state is before


async def test_entities_of_another_account_are_refused(account):
    with pytest.raises(ValueError, match="another account"):
        await account.put(samples.group("g", account_id="other"))


async def test_writes_of_one_account_come_one_after_the_other(account):
    async def add(number):
        await account.change(lambda draft: groups.create(draft, f"g{number}", []))

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(add, number)
    assert len(account.state.groups) == 31


async def test_what_changed_is_told_in_order(account, accounts):
    heard = []
    accounts.listen(lambda before, after, change: heard.append((before.account.serial, after.account.serial)))
    for name in "abc":
        await account.enrol(name)
    assert all(after == before + 1 for before, after in heard)
    assert [before for before, _ in heard[1:]] == [after for _, after in heard[:-1]]


async def test_secrets_are_found_until_they_are_gone(account, accounts):
    state, key = accounts.find_setup_key(account.key.lower())
    assert state is account.state
    assert accounts.find_setup_key("00000000-0000-0000-0000-000000000000") is None
    await account.change(lambda draft: draft.delete(SetupKey, key.id))
    assert accounts.find_setup_key(account.key) is None
    assert accounts.find_token("nbp_nothing") is None


def without_cache(state):
    return Taken.by(state.peers.values())


names = st.sampled_from("abcd")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("enrol"), names),
        st.tuples(st.just("leave"), names),
        st.tuples(st.just("group"), names, st.frozensets(names)),
        st.tuples(st.just("rename"), names, names),
        st.tuples(st.just("readdress"), st.sampled_from(["100.80.0.0/24", "100.81.0.0/24"])),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_memory_is_what_a_new_start_reads(tmp_path_factory, begin_account, history):
    def of(account, name):
        found = account.accounts.find_peer(samples.public_key(name))
        return found[1].id if found else ""

    async def one(account, step):
        match step:
            case "enrol", name:
                await account.enrol(name, hostname="same")
            case "leave", name if id := of(account, name):
                await account.change(lambda draft: peers.delete(draft, id))
            case "group", name, members:
                held = frozenset(of(account, member) for member in members) & account.state.peers.keys()
                await account.put(samples.group(name, account_id=account.id, peers=held))
            case "rename", name, other if id := of(account, name):
                wish = peers.PeerWish(
                    name=other, ssh_enabled=False, login_expiration_enabled=False, inactivity_expiration_enabled=False
                )
                await account.change(lambda draft: peers.update(draft, id, wish))
            case "readdress", network:
                changed = attrs.evolve(account.state.account.settings, network_range=IPv4Network(network))

                def move(draft):
                    draft.put(attrs.evolve(draft.state.account, settings=changed))
                    readdress(draft)

                await account.change(move)

    async def play():
        (backend,) = meshloom_stores()
        context = StoreContext(tmp_path_factory.mktemp("data"), ENTITIES)
        async with backend.open(backend.options(), context) as store, Accounts.open(store) as accounts:
            account = await begin_account(accounts)
            for step in history:
                await one(account, step)
                now = account.state
                fresh = without_cache(now)
                taken = now.taken
                assert (taken.ips, taken.ipv6s, taken.labels) == (fresh.ips, fresh.ipv6s, fresh.labels)
                assert taken.extras == fresh.extras
                assert len(fresh.ips) == len(fresh.labels) == len(now.peers)
                assert now.all_group.peers == now.peers.keys()
            async with Accounts.open(store) as again:
                assert contents(again.state(account.id)) == contents(account.state)
                for peer in account.state.peers.values():
                    assert again.find_peer(peer.key)[1] == peer

    anyio.run(play)
