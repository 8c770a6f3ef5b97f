"""The memory store holds the store's contract."""

from pathlib import Path

import pytest

from meshloom.memory_store import meshloom_stores, restore
from meshloom.model.group import Group
from meshloom.model.peer import Peer
from meshloom.model.state import ENTITIES
from meshloom.testing.contracts.store import StoreContract

pytestmark = pytest.mark.anyio


class TestMemoryStore(StoreContract):
    durable = False

    @pytest.fixture
    def backend(self):
        (backend,) = meshloom_stores()
        return backend

    async def check_backup(self, backup: Path) -> None:
        entities = restore(backup.read_text(), ENTITIES)
        counts = [sum(isinstance(entity, kind) for entity in entities) for kind in (Group, Peer)]
        assert counts[0] == counts[1]
