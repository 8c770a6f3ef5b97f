"""SQLite's errors in the words of the store's contract, in one table."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from meshloom.errors import Conflict, StoreError, StoreUnavailable

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room on it",
    sqlite3.SQLITE_BUSY: "another process holds it for too long: find it with fuser",
    sqlite3.SQLITE_LOCKED: "it is locked: find who holds it with fuser",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it aside and restore a backup",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database: move it aside and restore a backup",
    sqlite3.SQLITE_READONLY: "it may not be written: check the owner and mode of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the owner and mode of the file and its folder",
    sqlite3.SQLITE_PERM: "access is denied: check the owner and mode of the file and its folder",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write it: see the system's log",
    sqlite3.SQLITE_NOMEM: "memory is exhausted",
}
_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes have the primary one in their low byte."""


@contextmanager
def translated(file: Path) -> Iterator[None]:
    """Raises the store's own errors instead of the database's."""
    try:
        yield
    except DBAPIError as error:
        raise _translation(file, error.orig) from error
    except sqlite3.Error as error:
        raise _translation(file, error) from error


def _translation(file: Path, error: BaseException | None) -> StoreError:
    if isinstance(error, sqlite3.IntegrityError):
        if error.sqlite_errorname in ("SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_TRIGGER"):
            return Conflict("an entity refers to one that is not there")
        return Conflict(f"the write breaks a constraint: {error}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    return StoreUnavailable(f"{file}: {_REASONS.get(code) or f'SQLite says: {error}'}")
