"""State in one SQLite file of the service's data folder."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from meshloom.backend import Backend
from meshloom.hookspecs import hookimpl
from meshloom.store import Store, StoreContext
from meshloom_store_sqlite.options import SqliteOptions

__all__ = ["SqliteOptions", "meshloom_stores"]


@hookimpl
def meshloom_stores() -> Iterable[Backend[StoreContext, Store]]:
    """The one backend of this plugin."""
    return [Backend(name="sqlite", options=SqliteOptions, open=_open, rank=10)]


@asynccontextmanager
async def _open(options: SqliteOptions, context: StoreContext) -> AsyncIterator[Store]:
    from meshloom_store_sqlite.store import open_sqlite  # SQLAlchemy takes a while: only who uses it waits

    async with open_sqlite(options, context) as store:
        yield store
