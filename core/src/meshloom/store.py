"""The contract of a store: entities by kind and id, written in transactions.

An entity is a frozen attrs class with a field ``id`` (text), its fields declared with :mod:`meshloom.model.fields`.
``indexed`` ones can be searched by; ``reference`` fields must name an existing entity of another kind when the
transaction commits (or be None), and deleting that one deletes those that refer to it.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs

from meshloom.model.fields import indexed, reference

__all__ = ["Entity", "Store", "StoreContext", "Transaction", "indexed", "reference"]


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
        read_only: Only look (for a backup, say) at what another process may be writing; ``put`` and ``delete`` raise
            StoreUnavailable.
    """

    data_dir: Path
    entities: tuple[type[Any], ...]
    read_only: bool = False


class Transaction(ABC):
    """Reads and writes that commit together or not at all; reads see the transaction's own writes.

    A Conflict ends it: whatever the body does afterwards, nothing is kept and leaving raises the Conflict.
    """

    @abstractmethod
    async def get(self, kind: type[E], id: str) -> E:
        """The entity with that id.

        Raises:
            NotFound: There is none.
        """

    @abstractmethod
    async def find(self, kind: type[E], **equals: object) -> list[E]:
        """All entities whose indexed fields have these values, in the order of their ids; all without any.

        Raises:
            ValueError: A field is not indexed.
        """

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

        A body that is cancelled has written nothing; one that is cancelled while committing, all or nothing.

        Raises:
            Conflict: A constraint is broken.
            StoreUnavailable: It cannot be read or written now; nothing of the transaction is kept.
        """

    @abstractmethod
    async def backup(self, file: Path) -> None:
        """Write a consistent copy while the store is in use; an existing file is refused (StoreError)."""
