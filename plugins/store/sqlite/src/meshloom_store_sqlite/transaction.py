"""One transaction: writes are gathered, and sent in as few statements and hand-overs to the thread as they need."""

import json
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import anyio
import attrs
from sqlalchemy import Connection, Delete, Insert, Select, Table, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from meshloom.errors import NotFound, StoreError, StoreUnavailable
from meshloom.model.document import from_document, to_document, to_plain
from meshloom.model.fields import check_searchable
from meshloom.store import Entity, Transaction
from meshloom_store_sqlite.failures import translated
from meshloom_store_sqlite.file import roll_back
from meshloom_store_sqlite.tables import BODY
from meshloom_store_sqlite.thread import DatabaseThread

E = TypeVar("E", bound=Entity)
T = TypeVar("T")


@attrs.frozen(eq=False)
class Statements:
    """The statements of one kind of entity, compiled once."""

    table: Table
    upsert: Insert
    select: Select[Any]
    delete: Delete

    @classmethod
    def of(cls, table: Table) -> "Statements":
        """Of the kind that the table keeps."""
        new = insert(table)
        changed = {column.name: new.excluded[column.name] for column in table.columns if not column.primary_key}
        return cls(
            table=table,
            upsert=new.on_conflict_do_update(index_elements=[table.c.id], set_=changed),  # REPLACE would cascade
            select=select(table.c[BODY]).order_by(table.c.id),
            delete=delete(table).where(table.c.id == bindparam("gone")),
        )

    def row(self, entity: Entity) -> dict[str, Any]:
        """The entity as the upsert takes it."""
        document = to_document(entity)
        row = {column.name: document[column.name] for column in self.table.columns if column.name != BODY}
        row[BODY] = json.dumps(document, separators=(",", ":"))
        return row


@attrs.frozen
class Session:
    """What the transactions of one open store share."""

    file: Path
    thread: DatabaseThread
    connection: Connection
    statements: Mapping[str, Statements]
    read_only: bool

    def of(self, kind: type[Any]) -> Statements:
        """The statements of a kind."""
        try:
            return self.statements[kind.__name__]
        except KeyError:
            raise StoreError(f"{kind.__name__} is not among the entities that the store was opened with") from None


class SqliteTransaction(Transaction):
    """Begins with its first statement; after a failure only leaving it is left."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: list[tuple[Statements, dict[str, Any]]] = []
        self._failure: StoreError | None = None
        self.has_written = False
        """Whether anything was put or deleted."""

    async def get(self, kind: type[E], id: str) -> E:
        """See :class:`meshloom.store.Transaction`."""
        statements = self._session.of(kind)
        found = await self._read(kind, statements.select.where(statements.table.c.id == id))
        if not found:
            raise NotFound(kind.__name__, id)
        return found[0]

    async def find(self, kind: type[E], **equals: object) -> list[E]:
        """See :class:`meshloom.store.Transaction`."""
        check_searchable(kind, equals)
        statements = self._session.of(kind)
        wanted = [statements.table.c[name] == to_plain(value) for name, value in equals.items()]
        return await self._read(kind, statements.select.where(*wanted))

    async def put(self, entity: Entity) -> None:
        """See :class:`meshloom.store.Transaction`; a Conflict shows when the write is sent."""
        self._check_writable()
        statements = self._session.of(type(entity))
        self._pending.append((statements, statements.row(entity)))

    async def delete(self, kind: type[Entity], id: str) -> None:
        """See :class:`meshloom.store.Transaction`."""
        self._check_writable()
        statement = self._session.of(kind).delete
        connection = self._session.connection
        if await self._run(lambda: connection.execute(statement, {"gone": id}).rowcount) == 0:
            raise NotFound(kind.__name__, id)

    async def commit(self) -> None:
        """Send and keep everything."""
        if self._failure is not None:
            raise self._failure
        await self._run(self._session.connection.commit)

    async def roll_back(self) -> None:
        """Keep nothing; cancellation does not stop it."""
        with anyio.CancelScope(shield=True):
            await self._session.thread.run(lambda: roll_back(self._session.connection))

    async def _read(self, kind: type[E], query: Select[Any]) -> list[E]:
        def read() -> list[E]:
            bodies = self._session.connection.execute(query).scalars().all()
            return [from_document(kind, json.loads(body)) for body in bodies]

        return await self._run(read)

    async def _run(self, function: Callable[[], T]) -> T:
        if self._failure is not None:
            raise self._failure
        pending, self._pending = self._pending, []

        def run() -> T:
            with translated(self._session.file):
                self._send(pending)
                return function()

        try:
            return await self._session.thread.run(run)
        except StoreError as failure:
            self._failure = failure
            raise

    def _send(self, pending: list[tuple[Statements, dict[str, Any]]]) -> None:
        for statements, rows in groupby(pending, key=lambda write: write[0]):
            self._session.connection.execute(statements.upsert, [row for _, row in rows])

    def _check_writable(self) -> None:
        if self._session.read_only:
            raise StoreUnavailable(f"{self._session.file}: the store was opened to be read only")
        self.has_written = True
