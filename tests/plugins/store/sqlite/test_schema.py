"""The schema's history: every released one can be opened by this version."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import meshloom_store_sqlite
from meshloom.errors import StoreUnavailable
from meshloom.model.state import ENTITIES
from meshloom.testing.contracts.store import content, everything, sorted_by_kind
from meshloom_store_sqlite import schema
from meshloom_store_sqlite.tables import table_name, tables_of

pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).parent / "golden"
MIGRATIONS = Path(meshloom_store_sqlite.__file__).parent / "migrations"


async def test_the_migrations_lead_to_what_the_entities_need(open_sqlite, tmp_path):
    async with open_sqlite():
        pass
    tables = tables_of(ENTITIES)
    metadata = tables["Account"].metadata
    engine = create_engine(f"sqlite:///{tmp_path / 'meshloom.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_that_needs_no_alembic():
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [schema.HEAD]


async def test_opening_a_current_file_does_not_import_alembic(open_sqlite, tmp_path):
    async with open_sqlite():
        pass
    program = """if True:
        import sys, anyio
        from pathlib import Path
        from meshloom.model.state import ENTITIES
        from meshloom.store import StoreContext
        from meshloom_store_sqlite import SqliteOptions, meshloom_stores
        assert "sqlalchemy" not in sys.modules
        async def main():
            async with meshloom_stores()[0].open(SqliteOptions(), StoreContext(Path(sys.argv[1]), ENTITIES)):
                assert "sqlalchemy" in sys.modules and "alembic" not in sys.modules
        anyio.run(main)
        """
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=30)


async def test_a_schema_of_a_newer_version_is_refused_and_left_alone(open_sqlite, tmp_path):
    async with open_sqlite():
        pass
    database = sqlite3.connect(tmp_path / "meshloom.db")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    for read_only in (False, True):
        with pytest.raises(StoreUnavailable, match=r"its schema is 9999, .* install the version that wrote it"):
            async with open_sqlite(read_only=read_only):
                pass
    assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    database.close()


async def test_a_failed_migration_leaves_the_file_as_it_was(open_sqlite, tmp_path):
    database = sqlite3.connect(tmp_path / "meshloom.db")
    database.execute("CREATE TABLE peers (id TEXT)")
    database.commit()
    with pytest.raises(StoreUnavailable, match="already exists"):
        async with open_sqlite():
            pass
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("peers",)]
    database.close()


@pytest.mark.parametrize("dump", sorted(GOLDEN.glob("*.sql")), ids=lambda dump: dump.stem)
async def test_a_released_schema_is_opened_with_all_its_data(open_sqlite, tmp_path, dump):
    database = sqlite3.connect(tmp_path / "meshloom.db")
    database.executescript(dump.read_text())
    database.close()
    async with open_sqlite() as store:
        assert await content(store) == sorted_by_kind(everything())


async def test_the_dump_of_this_version_is_among_them(open_sqlite, tmp_path):
    async with open_sqlite() as store, store.transaction() as transaction:
        for entity in everything():
            await transaction.put(entity)
    database = sqlite3.connect(tmp_path / "meshloom.db")
    dumped = "".join(f"{line}\n" for line in database.iterdump())
    database.close()
    assert dumped == (GOLDEN / f"{schema.HEAD}.sql").read_text()


def test_tables_are_named_as_their_kinds_in_the_plural():
    names = [table_name(kind) for kind in ("Account", "PersonalAccessToken", "Policy", "SetupKey")]
    assert names == ["accounts", "personal_access_tokens", "policies", "setup_keys"]


async def test_a_kind_without_a_migration_is_refused(tmp_path):
    @attrs.frozen
    class Stranger:
        id: str

    from meshloom.store import StoreContext

    (backend,) = meshloom_store_sqlite.meshloom_stores()
    with pytest.raises(meshloom_store_sqlite.store.StoreError, match=r"makes strangers\.id for Stranger"):
        async with backend.open(backend.options(), StoreContext(tmp_path, (*ENTITIES, Stranger))):
            pass
