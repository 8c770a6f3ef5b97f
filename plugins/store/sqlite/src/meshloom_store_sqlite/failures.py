"""SQLite's errors in the words of the store's contract, in one table."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from meshloom.errors import Conflict, StoreError, StoreUnavailable

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room on it",
    sqlite3.SQLITE_IOERR_SHMSIZE: "the disk is full: make room on it",
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
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The latter where there is no room for the index of the write-ahead log, which readers share."""
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


def is_for_want_of_room(error: StoreUnavailable) -> bool:
    """Tells whether a translated error came from a full disk."""
    cause = error.__cause__
    return _code(cause.orig if isinstance(cause, DBAPIError) else cause) in _NO_ROOM


def _code(error: BaseException | None) -> int:
    """Returns SQLite's code, the extended one only where that says more."""
    extended = int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR))
    return extended if extended in _NO_ROOM else extended & _PRIMARY_CODE


def _translation(file: Path, error: BaseException | None) -> StoreError:
    if isinstance(error, sqlite3.IntegrityError):
        if error.sqlite_errorname in ("SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_TRIGGER"):
            return Conflict("an entity refers to one that is not there")
        return Conflict(f"the write breaks a constraint: {error}")
    return StoreUnavailable(f"{file}: {_REASONS.get(_code(error)) or f'SQLite says: {error}'}")
