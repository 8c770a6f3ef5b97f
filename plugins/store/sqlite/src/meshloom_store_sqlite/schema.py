"""Brings a file's schema to what this version needs, or says why that cannot be."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, Table, inspect

from meshloom.errors import StoreError, StoreUnavailable

HEAD = "0001"
"""The newest migration: a file that is there already needs nothing of Alembic, whose import takes a while."""

_VERSIONS = "SELECT version_num FROM alembic_version"


def current_revision(connection: Connection) -> str | None:
    """The migration that the file was last brought to; None for a new one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql(_VERSIONS).scalar_one_or_none()


def migrate(connection: Connection, file: Path) -> None:
    """Run what is missing, all in the caller's transaction.

    Raises:
        StoreUnavailable: A newer version of Meshloom wrote the file.
    """
    revision = current_revision(connection)
    if revision == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise newer(file, revision)
    command.upgrade(config, "head")


def newer(file: Path, revision: str | None) -> StoreUnavailable:
    """What to tell whoever starts a version that does not know the file's schema."""
    return StoreUnavailable(
        f"{file}: its schema is {revision or 'none'}, this version of meshloom-store-sqlite knows {HEAD}: "
        "install the version that wrote it, or restore a backup of before"
    )


def check_tables(connection: Connection, tables: Mapping[str, Table]) -> None:
    """Raises StoreError where the migrations made no table for a kind of entity."""
    inspector = inspect(connection)
    for kind, table in tables.items():
        there = (
            {column["name"] for column in inspector.get_columns(table.name)} if inspector.has_table(table.name) else ()
        )
        missing = [column.name for column in table.columns if column.name not in there]
        if missing:
            raise StoreError(f"no migration of meshloom-store-sqlite makes {table.name}.{missing[0]} for {kind}")
