"""The database file: its mode, its lock, its connections."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from meshloom.errors import StoreUnavailable
from meshloom.own_file import PRIVATE, open_own
from meshloom_store_sqlite.failures import translated
from meshloom_store_sqlite.options import SqliteOptions


@contextmanager
def owned(file: Path) -> Iterator[None]:
    """Make the file ours alone: readable by nobody else, and written by no second process while we live.

    Two servers on one file would not damage it, but each would serve what it remembers, not what the other wrote.

    Raises:
        StoreUnavailable: Another process has it, or it cannot be made.
    """
    lock = file.with_name(f"{file.name}.lock")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = open_own(lock, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StoreUnavailable(f"{lock}: {error.strerror}: check the owner and mode of its folder") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise StoreUnavailable(
                f"{file}: process {holder} uses it: stop that, or give another data folder"
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the holder stays unknown
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _make_private(file)
        yield
    finally:
        os.close(descriptor)


def _make_private(file: Path) -> None:
    try:
        descriptor = open_own(file, os.O_RDWR | os.O_CREAT)
        try:
            os.fchmod(descriptor, PRIVATE)  # SQLite gives its -wal and -shm files the same mode
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreUnavailable(f"{file}: {error.strerror}: check its owner and mode") from error


@contextmanager
def connected(file: Path, options: SqliteOptions, *, read_only: bool, alone: bool = False) -> Iterator[Connection]:
    """The one connection. To be used by one thread, that which enters this.

    Where it shall be *alone*, no other process can read meanwhile, and nothing is written on the disk to open it.
    """
    engine = _engine(file, options, read_only=read_only, alone=alone)
    try:
        with translated(file), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _engine(file: Path, options: SqliteOptions, *, read_only: bool, alone: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = open_file(file, options, read_only=read_only)
        try:
            if alone:  # the index of the log is kept in memory then (sqlite.org/wal.html#noshm)
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            if not read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {'FULL' if options.survive_power_loss else 'NORMAL'}")
        except BaseException:
            connection.close()  # nobody else knows of it yet
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"  # a write lock taken late could fail after the reads

    @event.listens_for(engine, "begin")
    def begin_at_once(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def enforce_references(connection: Connection) -> None:
    """From now on; off before, so that migrations may rebuild tables.

    Past SQLAlchemy, which would begin a transaction first: inside one SQLite ignores the pragma without a word.
    """
    _driver(connection).execute("PRAGMA foreign_keys = ON")


def roll_back(connection: Connection) -> None:
    """Leave the transaction, also one whose commit failed: SQLAlchemy takes that for ended, SQLite does not."""
    connection.rollback()
    driver = _driver(connection)
    if driver.in_transaction:
        driver.rollback()


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"the driver's connection is {driver!r}, not one of sqlite3")
    return driver


def open_file(file: Path, options: SqliteOptions, *, read_only: bool) -> sqlite3.Connection:
    """A plain connection that begins no transaction of its own accord."""
    mode = "ro" if read_only else "rw"
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=options.busy_timeout.total_seconds(),
        isolation_level=None,
        check_same_thread=False,
    )


def as_one_file(content: bytes) -> bytes:
    """The content of a database file for use without a write-ahead log: one file, without companions."""
    without = b"\1\1"  # the versions of the format for writing and for reading (sqlite.org/fileformat.html)
    return content[:18] + without + content[20:]
