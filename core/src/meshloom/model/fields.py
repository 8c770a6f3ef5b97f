"""How an entity's fields say what a store must know of them (see :mod:`meshloom.store`)."""

from functools import lru_cache
from typing import Any

import attrs

INDEXED = "meshloom.store.indexed"
UNIQUE = "meshloom.store.unique"
REFERENCE = "meshloom.store.reference"


@attrs.frozen
class StoredField:
    """What a store must know of one field.

    Args:
        unique: No two entities have the same value, but None.
        reference: Class name of the entity whose id the field holds, or None.
    """

    name: str
    unique: bool
    reference: str | None


def indexed(*, unique: bool = False, **more: Any) -> Any:
    """A field that ``Transaction.find`` can search by; ``unique`` ones have no two equal values but None."""
    return attrs.field(metadata={INDEXED: True, UNIQUE: unique}, **more)


def reference(kind: str, **more: Any) -> Any:
    """An indexed field that holds the id of an entity of another class, named by its class name."""
    return attrs.field(metadata={INDEXED: True, REFERENCE: kind}, **more)


def stored_fields(kind: type[Any]) -> tuple[StoredField, ...]:
    """The fields of an entity's class that can be searched by, in the order of the class."""
    key: Any = kind
    return _stored_fields(key)


@lru_cache
def _stored_fields(kind: Any) -> tuple[StoredField, ...]:
    return tuple(
        StoredField(field.name, field.metadata.get(UNIQUE, False), field.metadata.get(REFERENCE))
        for field in attrs.fields(kind)
        if field.metadata.get(INDEXED)
    )


def check_searchable(kind: type[Any], names: Any) -> None:
    """Raises ValueError that names the first of the fields that no store can search by."""
    known = [field.name for field in stored_fields(kind)]
    for name in names:
        if name not in known:
            raise ValueError(f"{kind.__name__}.{name} is not indexed; find() can search by: {', '.join(known) or '-'}")
