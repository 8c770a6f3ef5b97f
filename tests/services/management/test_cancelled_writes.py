"""A caller that is cancelled while its write is on its way leaves the store and the memory in agreement."""

import asyncio

import pytest

from meshloom.model.state import ENTITIES
from meshloom.store import StoreContext
from meshloom.testing import samples
from meshloom_management.accounts import Accounts
from meshloom_store_sqlite import SqliteOptions, meshloom_stores

pytestmark = pytest.mark.anyio


async def test_what_is_stored_is_in_memory_whenever_the_caller_is_cancelled(tmp_path):
    (backend,) = meshloom_stores()
    async with backend.open(SqliteOptions(survive_power_loss=False), StoreContext(tmp_path, ENTITIES)) as store:
        async with Accounts.open(store) as accounts:
            owner = await accounts.create(email="owner@example.test", name="Owner", password_hash="")
            account = owner.account_id
            for number in range(60):
                group = samples.group(f"g{number:02}", account_id=account, peers=frozenset())
                task = asyncio.create_task(accounts.change(account, lambda draft, group=group: draft.put(group)))
                for _ in range(number % 8):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await accounts.change(account, lambda draft: draft.put(samples.group("last", account_id=account)))
            in_memory = accounts.state(account)
        async with Accounts.open(store) as again:
            assert again.state(account).groups.keys() == in_memory.groups.keys()
            assert again.state(account).account == in_memory.account
