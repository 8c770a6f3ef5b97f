"""The contract of a store: entities by kind and id, written in transactions.

An entity is a frozen attrs class with a field ``id`` (text). Fields made by :func:`indexed` can be searched by;
:func:`reference` fields must name an existing entity of another kind when the transaction commits (or be None), and
deleting that one deletes those that refer to it.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs

INDEXED = "meshloom.store.indexed"
UNIQUE = "meshloom.store.unique"
REFERENCE = "meshloom.store.reference"


def indexed(*, unique: bool = False, **more: Any) -> Any:
    """A field that ``Transaction.find`` can search by; ``unique`` ones have no two equal values but None."""
    return attrs.field(metadata={INDEXED: True, UNIQUE: unique}, **more)


def reference(kind: str, **more: Any) -> Any:
    """An indexed field that holds the id of an entity of another class, named by its class name."""
    return attrs.field(metadata={INDEXED: True, REFERENCE: kind}, **more)


class Entity(Protocol):
    """What a store keeps."""

    @property
    def id(self) -> str:
        """Unique within its kind."""
        ...


E = TypeVar("E", bound=Entity)


@attrs.frozen
class StoreContext:
    """What a backend is opened with; gains fields, never loses them.

    Args:
        data_dir: The service's data folder (0700).
        entities: Every class that will be stored, those referred to before those that refer.
    """

    data_dir: Path
    entities: tuple[type[Any], ...]


class Transaction(ABC):
    """Reads and writes that commit together or not at all; reads see the transaction's own writes."""

    @abstractmethod
    async def get(self, kind: type[E], id: str) -> E:
        """The entity with that id.

        Raises:
            NotFound: There is none.
        """

    @abstractmethod
    async def find(self, kind: type[E], **equals: object) -> list[E]:
        """All entities whose indexed fields have these values, in the order of their ids; without any, all of the kind."""

    @abstractmethod
    async def put(self, entity: Entity) -> None:
        """Insert the entity, or replace the one with its id.

        Raises:
            Conflict: A unique field's value is taken, or a reference points nowhere (now or when committing).
        """

    @abstractmethod
    async def delete(self, kind: type[Entity], id: str) -> None:
        """Remove the entity and those that refer to it.

        Raises:
            NotFound: There is none.
        """


class Store(ABC):
    """Durable state of one service."""

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commit on leaving, roll back when the body raises. Serialisable; writers wait for each other.

        Raises:
            Conflict: A constraint is broken.
            StoreUnavailable: It cannot be read or written now; nothing of the transaction is kept.
        """

    @abstractmethod
    async def backup(self, file: Path) -> None:
        """Write a consistent copy while the store is in use; an existing file is refused (StoreError)."""
