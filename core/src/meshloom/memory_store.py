"""The store that core brings itself: everything in memory, gone with the process. For trials and tests."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import attrs

from meshloom.backend import Backend
from meshloom.errors import Conflict, NotFound, StoreError, StoreUnavailable
from meshloom.hookspecs import hookimpl
from meshloom.model.document import from_document, to_document
from meshloom.model.fields import check_searchable, stored_fields
from meshloom.store import Entity, Store, StoreContext, Transaction

E = TypeVar("E", bound=Entity)

Undo = Callable[[], object]


@attrs.frozen
class MemoryOptions:
    """It has no options."""


class Table:
    """The entities of one kind, and what finds them by their indexed fields. Its changes return how to undo them."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.rows: dict[str, Any] = {}
        self.fields = stored_fields(kind)
        self._by_value: dict[str, dict[Any, set[str]]] = {field.name: {} for field in self.fields}

    def with_value(self, name: str, value: object) -> set[str]:
        """Ids of the entities that have the value in an indexed field."""
        return self._by_value[name].get(value, set())

    def put(self, entity: Any) -> Undo:
        """Insert or replace.

        Raises:
            Conflict: A unique field's value is another entity's.
        """
        for field in self.fields:
            value = getattr(entity, field.name)
            if field.unique and value is not None and self.with_value(field.name, value) - {entity.id}:
                raise Conflict(f"{self.kind.__name__}.{field.name} of {entity.id} is taken by another entity")
        old = self.rows.get(entity.id)
        self._swap(entity.id, old, entity)
        return lambda: self._swap(entity.id, entity, old)

    def delete(self, id: str) -> Undo:
        """Remove an entity that is there."""
        old = self.rows[id]
        self._swap(id, old, None)
        return lambda: self._swap(id, None, old)

    def _swap(self, id: str, old: Any, new: Any) -> None:
        for field in self.fields:
            values = self._by_value[field.name]
            if old is not None:
                ids = values[getattr(old, field.name)]
                ids.discard(id)
                if not ids:
                    del values[getattr(old, field.name)]
            if new is not None:
                values.setdefault(getattr(new, field.name), set()).add(id)
        if new is None:
            self.rows.pop(id, None)
        else:
            self.rows[id] = new


class MemoryTransaction(Transaction):
    """Writes in place, where nobody else can look before it ends, and remembers how to undo that."""

    def __init__(self, tables: dict[str, Table], *, read_only: bool) -> None:
        self._tables = tables
        self._read_only = read_only
        self._undo: list[Undo] = []
        self._touched: list[tuple[Table, str]] = []
        self._conflict: Conflict | None = None

    async def get(self, kind: type[E], id: str) -> E:
        """See :class:`meshloom.store.Transaction`."""
        found: E | None = self._table(kind).rows.get(id)
        if found is None:
            raise NotFound(kind.__name__, id)
        return found

    async def find(self, kind: type[E], **equals: object) -> list[E]:
        """See :class:`meshloom.store.Transaction`."""
        check_searchable(kind, equals)
        table = self._table(kind)
        matching = [table.with_value(name, value) for name, value in equals.items()]
        ids = set.intersection(*matching) if matching else table.rows
        return [table.rows[id] for id in sorted(ids)]

    async def put(self, entity: Entity) -> None:
        """See :class:`meshloom.store.Transaction`."""
        self._check_writable()
        to_document(entity)  # refuses what no other store could keep, either
        table = self._table(type(entity))
        try:
            self._undo.append(table.put(entity))
        except Conflict as conflict:
            self._conflict = self._conflict or conflict
            raise
        self._touched.append((table, entity.id))

    async def delete(self, kind: type[Entity], id: str) -> None:
        """See :class:`meshloom.store.Transaction`."""
        self._check_writable()
        table = self._table(kind)
        if id not in table.rows:
            raise NotFound(kind.__name__, id)
        self._delete(table, id)

    def check(self) -> None:
        """Raises the Conflict that forbids to commit."""
        if self._conflict is not None:
            raise self._conflict
        for table, id in self._touched:
            entity = table.rows.get(id)
            for field in table.fields if entity is not None else ():
                target = getattr(entity, field.name)
                if field.reference and target is not None and target not in self._tables[field.reference].rows:
                    raise Conflict(f"{table.kind.__name__}.{field.name} of {id} points to {target}, which is not there")

    def roll_back(self) -> None:
        """Undo everything."""
        while self._undo:
            self._undo.pop()()

    def _delete(self, table: Table, id: str) -> None:
        self._undo.append(table.delete(id))
        for other in self._tables.values():
            for field in other.fields:
                if field.reference == table.kind.__name__:
                    for referring in sorted(other.with_value(field.name, id)):
                        if referring in other.rows:
                            self._delete(other, referring)

    def _table(self, kind: type[Any]) -> Table:
        try:
            return self._tables[kind.__name__]
        except KeyError:
            raise StoreError(f"{kind.__name__} is not among the entities that the store was opened with") from None

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreUnavailable("the store was opened to be read only")


class MemoryStore(Store):
    """All entities in dictionaries; one transaction at a time.

    Args:
        entities: What is in it from the start, such as a backup's.
    """

    def __init__(self, context: StoreContext, entities: Iterable[Entity] = ()) -> None:
        self._tables = {kind.__name__: Table(kind) for kind in context.entities}
        for entity in entities:
            self._tables[type(entity).__name__].put(entity)
        self._read_only = context.read_only
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """See :class:`meshloom.store.Store`."""
        async with self._lock:
            transaction = MemoryTransaction(self._tables, read_only=self._read_only)
            try:
                yield transaction
                transaction.check()
            except BaseException:
                transaction.roll_back()
                raise

    async def backup(self, file: Path) -> None:
        """Write all documents as one JSON object: kind to documents."""
        async with self._lock:
            content = {
                name: [to_document(table.rows[id]) for id in sorted(table.rows)] for name, table in self._tables.items()
            }
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise StoreError(f"the backup {file} cannot be made: {error.strerror}") from error
        with os.fdopen(descriptor, "w") as stream:
            json.dump(content, stream)


def restore(content: str, entities: tuple[type[Any], ...]) -> list[Any]:
    """The entities of a backup, those referred to first."""
    documents = json.loads(content)
    return [from_document(kind, document) for kind in entities for document in documents.get(kind.__name__, [])]


@asynccontextmanager
async def open_memory(options: MemoryOptions, context: StoreContext) -> AsyncIterator[Store]:  # noqa: ARG001
    """An empty store."""
    yield MemoryStore(context)


@hookimpl
def meshloom_stores() -> "Iterable[Backend[StoreContext, Store]]":
    """Core's own; never chosen by ``auto`` where a durable one is installed."""
    return [Backend(name="memory", options=MemoryOptions, open=open_memory, rank=1000)]
