"""How the tests of this folder open the store."""

import pytest

from meshloom.model.state import ENTITIES
from meshloom.store import StoreContext
from meshloom_store_sqlite import SqliteOptions, meshloom_stores


@pytest.fixture
def open_sqlite(tmp_path):
    """Opens the store in the test's folder."""
    (backend,) = meshloom_stores()

    def open_store(*, read_only=False, **options):
        return backend.open(SqliteOptions(**options), StoreContext(tmp_path, ENTITIES, read_only=read_only))

    return open_store
