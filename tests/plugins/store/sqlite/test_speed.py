"""What the store may cost; the limits are several times what it does on a slow machine."""

import time

import pytest

from meshloom.model.peer import Peer
from meshloom.testing import samples

pytestmark = pytest.mark.anyio


async def test_a_transaction_of_three_writes_costs_little(open_sqlite):
    async with open_sqlite(survive_power_loss=False) as store:
        async with store.transaction() as transaction:
            await transaction.put(samples.account())
        before = time.process_time()
        for number in range(200):
            async with store.transaction() as transaction:
                await transaction.put(samples.account(serial=number))
                await transaction.put(samples.group(f"g{number}"))
                await transaction.put(samples.peer(f"p{number}"))
        assert (time.process_time() - before) / 200 < 0.004


async def test_an_account_of_5000_peers_is_read_in_a_second(open_sqlite):
    async with open_sqlite() as store:
        async with store.transaction() as transaction:
            await transaction.put(samples.account())
            for number in range(5000):
                await transaction.put(samples.peer(f"p{number}"))
        before = time.process_time()
        async with store.transaction() as transaction:
            assert len(await transaction.find(Peer)) == 5000
        assert time.process_time() - before < 1
