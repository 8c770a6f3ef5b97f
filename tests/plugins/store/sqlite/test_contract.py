"""The SQLite store holds the store's contract."""

from pathlib import Path

import pytest

import meshloom_store_sqlite
from meshloom.model.group import Group
from meshloom.model.peer import Peer
from meshloom.model.state import ENTITIES
from meshloom.store import StoreContext
from meshloom.testing.contracts.store import StoreContract
from meshloom_store_sqlite import SqliteOptions

pytestmark = pytest.mark.anyio


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def backend(self):
        (backend,) = meshloom_store_sqlite.meshloom_stores()
        return backend

    async def check_backup(self, backup: Path) -> None:
        (backend,) = meshloom_store_sqlite.meshloom_stores()
        options = SqliteOptions(file=backup.name)
        async with (
            backend.open(options, StoreContext(backup.parent, ENTITIES)) as store,
            store.transaction() as transaction,
        ):
            assert len(await transaction.find(Group)) == len(await transaction.find(Peer))
