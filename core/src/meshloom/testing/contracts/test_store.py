"""Runs the store contract: ``pytest --pyargs meshloom.testing.contracts --meshloom-store NAME``."""

from pathlib import Path

import pytest

from meshloom.backend import Backend
from meshloom.model.state import ENTITIES
from meshloom.store import Store, StoreContext
from meshloom.testing.contracts.backend import BackendContract
from meshloom.testing.contracts.selected import Selected
from meshloom.testing.contracts.store import StoreContract

pytestmark = pytest.mark.anyio


class TestStore(Selected, StoreContract, BackendContract):
    """The installed store that the command line names."""

    kind = "store"

    @pytest.fixture(autouse=True)
    def _durable(self, backend: Backend[StoreContext, Store]) -> None:
        self.durable = backend.name != "memory"  # core's own double forgets

    @pytest.fixture
    def context(self, tmp_path: Path) -> StoreContext:
        """An empty folder."""
        return StoreContext(tmp_path, ENTITIES)
