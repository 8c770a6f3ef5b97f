"""Tables of the mesh that have a row only for peers of which there is something to keep."""

from typing import TypeVar

from meshloom.model.keys import PublicKey

T = TypeVar("T")


def put(table: dict[PublicKey, T], key: PublicKey, value: T | None) -> bool:
    """Keeps a value, or nothing where it is None; returns whether it is another one than before."""
    if table.get(key) == value:
        return False
    if value is None:
        del table[key]
    else:
        table[key] = value
    return True
