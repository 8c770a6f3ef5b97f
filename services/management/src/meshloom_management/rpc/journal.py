"""The file of messages that came already: what was remembered outlives the process, however that ended."""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.own_file import open_new, open_own
from meshloom_management.rpc.records import BEGIN, Contents, read_records, to_record
from meshloom_management.rpc.seen import SeenNonces

_log = logging.getLogger(__name__)

NAME: Final = "nonces"
SLACK: Final = 1 << 20
"""Bytes that the file may have beyond twice of what it was written anew with."""
AGAIN_AFTER: Final = 60.0
"""Seconds after a failure before the file is written anew."""
MEANING: Final = "what machines with NetBird's client sent before, and somebody recorded, can count once more"
"""What it means that the file has lost something."""


class Journal:
    """Appends to a file, and writes it anew where it has become long or could not be written.

    What was appended has reached the operating system when :meth:`append` returns: the end of the process loses
    nothing of it, a power failure perhaps the last seconds. A disk that is full stops nobody from connecting: messages
    are then remembered until the process ends, and written down when there is room again.

    Args:
        folder: The server's data folder.
        everything: Returns what the file must hold, where it is written anew.
        monotonic: Returns seconds.
    """

    def __init__(
        self,
        folder: Path,
        everything: Callable[[], Iterable[tuple[bytes, bytes]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._everything, self._monotonic = folder / NAME, everything, monotonic
        self._descriptor = -1
        self._size = self._limit = 0
        self._is_damaged = False
        self._failed_at: float | None = None

    def open(self, *, is_expected: bool = False) -> list[tuple[bytes, bytes]]:
        """Opens the file and returns what it holds. What is damaged or was written by half is left out, and said.

        Args:
            is_expected: Whether a file that is missing or empty was there before.

        Raises:
            ConfigError: The file cannot be used.
        """
        try:
            was_there = os.path.lexists(self._file)
            self._descriptor = open_own(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            with open(self._descriptor, "rb", closefd=False) as stream:
                data = stream.read()
            found = read_records(data)
            if is_expected and not found.end:
                what = "is empty" if was_there else "was missing"
                _log.warning("%s %s, though this server has accounts: %s", self._file, what, MEANING)
            self._tell_of_damage(found, len(data))
            os.ftruncate(self._descriptor, found.end)
            if not found.end:
                self._begin()
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be used: {error.strerror}; check its owner and mode") from error
        self._is_damaged = bool(found.places)
        self._size = max(found.end, len(BEGIN))
        self._limit = 2 * self._size + SLACK
        return found.records

    def _tell_of_damage(self, found: Contents, size: int) -> None:
        if found.places:
            _log.warning(
                "%s is damaged: places: %d, bytes: %d; whole records, which count: %d; %s",
                self._file,
                found.places,
                found.damaged,
                len(found.records),
                MEANING,
            )
        if found.end < size:
            _log.warning("%s: the last %d bytes were written by half and are dropped", self._file, size - found.end)

    def mend(self) -> None:
        """Writes the file anew where it was damaged."""
        if self._is_damaged:
            self._renew()
            self._is_damaged = False

    def _begin(self) -> None:
        """Writes the beginning of an empty file, as soon as the disk has room for it."""
        try:
            if os.write(self._descriptor, BEGIN) < len(BEGIN):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._fail(error)

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, sender: bytes, marks: bytes) -> None:
        """Writes down messages of a sender."""
        record = to_record(sender, marks)
        if self._failed_at is not None:
            if self._monotonic() - self._failed_at < AGAIN_AFTER:
                return
            self._renew()
        elif self._size + len(record) > self._limit:
            self._renew()
        if self._failed_at is not None:
            return
        try:
            if os.write(self._descriptor, record) < len(record):
                raise OSError(0, "it took less than was written")
            self._size += len(record)
        except OSError as error:
            self._fail(error)

    def _renew(self) -> None:
        """Writes all that is remembered into a new file, which takes the place of this one."""
        draft = self._file.with_suffix(".new")
        data = BEGIN + b"".join(to_record(sender, marks) for sender, marks in self._everything())
        try:
            descriptor = open_new(draft, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(descriptor, data) < len(data):
                    raise OSError(0, "it took less than was written")
                os.fsync(descriptor)
                draft.rename(self._file)
            except OSError:
                os.close(descriptor)
                draft.unlink(missing_ok=True)
                raise
        except OSError as error:
            self._fail(error)
            return
        self.close()
        self._descriptor, self._size, self._limit = descriptor, len(data), 2 * len(data) + SLACK
        if self._failed_at is not None:
            self._failed_at = None
            _log.info("%s: written again", self._file)

    def _fail(self, error: OSError) -> None:
        if self._failed_at is None:
            _log.error("%s: %s: a restart forgets which messages came already", self._file, error.strerror)
        self._failed_at = self._monotonic()


@contextmanager
def seen_nonces(
    folder: Path, private: PrivateKey, registered: Callable[[], Iterable[PublicKey]], *, is_expected: bool = False
) -> Iterator[SeenNonces]:
    """Remembers messages in a file of the folder, also those of earlier processes.

    Args:
        folder: The server's data folder.
        private: The server's key.
        registered: Returns the keys that are registered now.
        is_expected: Whether a file that is missing or empty was there before.

    Raises:
        ConfigError: The file cannot be used.
    """

    def everything() -> Iterator[tuple[bytes, bytes]]:
        return seen.all()

    journal = Journal(folder, everything)
    seen = SeenNonces(private, registered, journal.append)
    for sender, marks in journal.open(is_expected=is_expected):
        seen.restore(sender, marks)
    journal.mend()
    try:
        yield seen
    finally:
        journal.close()
