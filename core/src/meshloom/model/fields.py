"""How an entity's fields say what a store must know of them (see :mod:`meshloom.store`)."""

from typing import Any

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
