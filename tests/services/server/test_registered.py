"""The relay of a whole server knows who is registered; one whose secret others may have knows who was removed."""

from datetime import UTC, datetime, timedelta

import pytest

from meshloom.memory_store import meshloom_stores
from meshloom.model.keys import PublicKey
from meshloom.model.peer import Peer
from meshloom.model.state import ENTITIES
from meshloom.protocol.relay import relay_peer_id
from meshloom.protocol.relay_token import RelayToken
from meshloom.store import StoreContext
from meshloom.testing import samples
from meshloom_management.accounts import Accounts
from meshloom_server.registered import Registered

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
STRANGER = relay_peer_id(PublicKey.of(bytes([9]) * 32))


class World:
    """One account with two peers."""

    def __init__(self, accounts, owner, clock):
        self.accounts, self.id, self.clock = accounts, owner.account_id, clock
        self.gone = []

    def registered(self, **options):
        made = Registered(self.accounts, lifetime=DAY, **options)
        made.removed = self.gone.append
        return made

    async def add(self, number):
        peer = samples.peer(id=f"peer{number}", account_id=self.id, key=PublicKey.of(bytes([number]) * 32))
        await self.accounts.change(self.id, lambda draft: draft.put(peer))
        return relay_peer_id(peer.key)

    async def remove(self, number):
        await self.accounts.change(self.id, lambda draft: draft.delete(Peer, f"peer{number}"))

    def classic(self):
        return RelayToken(0, DAY.total_seconds(), b"mark")

    def named(self, peer, account=None):
        return RelayToken(0, DAY.total_seconds(), b"mark", peer, account or self.id)


@pytest.fixture
async def world(tmp_path):
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    (backend,) = meshloom_stores()
    async with (
        backend.open(backend.options(), StoreContext(tmp_path, ENTITIES)) as store,
        Accounts.open(store, clock=lambda: clock[0]) as accounts,
    ):
        owner = await accounts.create(email="owner@example.test", name="Owner", password_hash="")
        yield World(accounts, owner, clock)


async def test_with_a_secret_of_its_own_only_registered_peers_are_accepted(world):
    one = await world.add(1)
    registered = world.registered(is_only=True)
    two = await world.add(2)
    for peer in (one, two):
        assert registered.refusal(peer, world.classic()) == registered.refusal(peer, world.named(peer)) == ""
    for token in (world.classic(), world.named(STRANGER), world.named(STRANGER, "management")):
        assert registered.refusal(STRANGER, token) == "not registered"


async def test_with_a_secret_that_others_may_have_their_peers_are_accepted_and_removed_ones_are_not(world):
    one = await world.add(1)
    registered = world.registered(is_only=False)
    assert registered.refusal(STRANGER, world.classic()) == ""
    assert registered.refusal(STRANGER, world.named(STRANGER, "another")) == ""
    assert registered.refusal(STRANGER, world.named(STRANGER)) == "not registered"
    await world.remove(1)
    assert registered.refusal(one, world.classic()) == "not registered"
    assert registered.refusal(one, world.named(one, "another")) == "not registered"
    world.clock[0] += DAY + timedelta(seconds=1)  # no token of before is good any more
    assert registered.refusal(one, world.classic()) == ""


@pytest.mark.parametrize("is_only", [True, False])
async def test_a_removed_peer_is_told_of_at_once_and_accepted_when_it_is_registered_again(world, is_only):
    one = await world.add(1)
    registered = world.registered(is_only=is_only)
    await world.remove(1)
    assert world.gone == [one]
    assert registered.refusal(one, world.classic()) == "not registered"
    await world.add(1)
    assert registered.refusal(one, world.classic()) == ""
    assert world.gone == [one]
