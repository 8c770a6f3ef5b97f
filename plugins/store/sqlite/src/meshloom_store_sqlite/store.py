"""The store: one file, one connection, one transaction at a time."""

import errno
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import attrs
from anyio import to_thread
from sqlalchemy import Connection

from meshloom.errors import StoreError, StoreUnavailable
from meshloom.own_file import open_new
from meshloom.store import Store, StoreContext, Transaction
from meshloom_store_sqlite import schema
from meshloom_store_sqlite.failures import is_for_want_of_room, translated
from meshloom_store_sqlite.file import as_one_file, connected, enforce_references, open_file, owned
from meshloom_store_sqlite.options import SqliteOptions
from meshloom_store_sqlite.tables import tables_of
from meshloom_store_sqlite.thread import database_thread
from meshloom_store_sqlite.transaction import Session, SqliteTransaction, Statements

_log = logging.getLogger(__name__)


class SqliteStore(Store):
    """Entities in SQLite; see :func:`open_sqlite`.

    Args:
        session: With the connection.
        options: Of the store.
        connector: Opens the connection again, where the disk was full and no longer is.
    """

    def __init__(self, session: Session, options: SqliteOptions, connector: "Connector") -> None:
        self._session = session
        self._options = options
        self._connector = connector
        self._has_room = False
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """See :class:`meshloom.store.Store`."""
        async with self._turn:
            if self._has_room:
                connection = await self._session.thread.run(self._connector.open_again)
                self._session, self._has_room = attrs.evolve(self._session, connection=connection), False
            transaction = SqliteTransaction(self._session)
            try:
                yield transaction
                await transaction.commit()
                self._has_room = self._connector.is_alone and transaction.has_written
            except BaseException:
                await transaction.roll_back()
                raise

    async def backup(self, file: Path) -> None:
        """Copy the file as it stands between two transactions; writers need not wait for it."""
        await to_thread.run_sync(self._backup, file)

    def _backup(self, file: Path) -> None:
        part = file.with_name(f"{file.name}.part")
        try:
            with translated(self._session.file), closing(self._source()) as source:
                content = as_one_file(source.serialize())  # never by a name that may lead elsewhere
            with os.fdopen(open_new(part, os.O_WRONLY), "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(part, file)  # unlike a rename, never replaces
        except OSError as error:
            fix = f": make room on the disk of {file.parent}" if error.errno == errno.ENOSPC else ""
            raise StoreError(f"the backup {file} cannot be made: {error.strerror}{fix}") from error
        finally:
            part.unlink(missing_ok=True)

    def _source(self) -> sqlite3.Connection:
        return open_file(self._session.file, self._options, read_only=True)


@asynccontextmanager
async def open_sqlite(options: SqliteOptions, context: StoreContext) -> AsyncIterator[SqliteStore]:
    """The store in its file, made or migrated where needed.

    Raises:
        StoreUnavailable: Another process uses the file, it cannot be read, or a newer version wrote it.
    """
    file = context.data_dir / options.file
    async with AsyncExitStack() as opened:
        if not context.read_only:
            opened.enter_context(owned(file))
        thread = await opened.enter_async_context(database_thread())
        connector = Connector(file, options, context)

        async def close() -> None:
            with anyio.CancelScope(shield=True):
                await thread.run(connector.close)

        opened.push_async_callback(close)
        statements = {kind: Statements.of(table) for kind, table in tables_of(context.entities).items()}
        connection = await thread.run(connector.open)
        yield SqliteStore(Session(file, thread, connection, statements, context.read_only), options, connector)


class Connector:
    """Opens the connection, in the thread of the database: also on a full disk, as long as the file is there.

    Attributes:
        is_alone: Whether the disk was full. Reads go on then, writes as soon as there is room; other processes cannot
            read until the connection is opened again.
    """

    def __init__(self, file: Path, options: SqliteOptions, context: StoreContext) -> None:
        self._file, self._options, self._context = file, options, context
        self._inside = ExitStack()
        self.is_alone = False

    def open(self) -> Connection:
        """Returns the connection, ready for use."""
        try:
            return self._open(alone=False)
        except StoreUnavailable as error:
            if self._context.read_only or not is_for_want_of_room(error):
                raise
            self.close()
            _log.error("%s; what is stored is served, and nothing is written until there is room", error)
        return self._open(alone=True)

    def open_again(self) -> Connection:
        """Returns a new connection in the place of the old one."""
        self.close()
        connection = self.open()
        if not self.is_alone:
            _log.info("%s: the disk has room again", self._file)
        return connection

    def close(self) -> None:
        """Closes the connection."""
        self._inside.close()

    def _open(self, *, alone: bool) -> Connection:
        self.is_alone = alone
        opening = connected(self._file, self._options, read_only=self._context.read_only, alone=alone)
        connection = self._inside.enter_context(opening)
        with translated(self._file):
            _prepare(connection, self._file, self._context)
        return connection


def _prepare(connection: Connection, file: Path, context: StoreContext) -> None:
    with connection.begin():
        if not context.read_only:
            schema.migrate(connection, file)
        elif (revision := schema.current_revision(connection)) != schema.HEAD:
            raise schema.newer(file, revision)
        schema.check_tables(connection, tables_of(context.entities))
        if (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()) is not None:
            raise StoreUnavailable(f"{file}: {broken[0]} refers to what is not in {broken[2]}: restore a backup")
    enforce_references(connection)
