"""The file of messages that came already: what was remembered outlives the process, however that ended."""

import binascii
import errno
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom_management.rpc.seen import MARK, SeenNonces

_log = logging.getLogger(__name__)

NAME: Final = "nonces"
BEGIN: Final = b"meshloom nonces 1\n"
_head = struct.Struct(">8sH")
_code = struct.Struct(">L")
SLACK: Final = 1 << 20
"""Bytes that the file may have beyond twice of what it was written anew with."""
AGAIN_AFTER: Final = 60.0
"""Seconds after a failure before the file is written anew."""


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
        self._failed_at: float | None = None

    def open(self) -> list[tuple[bytes, bytes]]:
        """Opens the file and returns what it holds. What was written by half is dropped.

        Raises:
            ConfigError: The file cannot be used.
        """
        try:
            data = self._file.read_bytes() if self._file.exists() else b""
            records, end = _read(data)
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if end < len(data):
                _log.warning("%s: the last %d bytes were written by half and are dropped", self._file, len(data) - end)
                os.ftruncate(self._descriptor, end)
            if not end:
                self._begin()
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be used: {error.strerror}; check its owner and mode") from error
        self._size = max(end, len(BEGIN))
        self._limit = 2 * self._size + SLACK
        return records

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
        record = _record(sender, marks)
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
        data = BEGIN + b"".join(_record(sender, marks) for sender, marks in self._everything())
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
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
    folder: Path, private: PrivateKey, registered: Callable[[], Iterable[PublicKey]]
) -> Iterator[SeenNonces]:
    """Remembers messages in a file of the folder, also those of earlier processes.

    Args:
        folder: The server's data folder.
        private: The server's key.
        registered: Returns the keys that are registered now.

    Raises:
        ConfigError: The file cannot be used.
    """

    def everything() -> Iterator[tuple[bytes, bytes]]:
        return seen.all()

    journal = Journal(folder, everything)
    seen = SeenNonces(private, registered, journal.append)
    for sender, marks in journal.open():
        seen.restore(sender, marks)
    try:
        yield seen
    finally:
        journal.close()


def _record(sender: bytes, marks: bytes) -> bytes:
    body = _head.pack(sender, len(marks) // MARK) + marks
    return body + _code.pack(binascii.crc32(body))


def _read(data: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
    """The whole records of a file, and where they end; 0 where it is not such a file."""
    if not data.startswith(BEGIN):
        return [], 0
    records, at = [], len(BEGIN)
    while at + _head.size <= len(data):
        sender, count = _head.unpack_from(data, at)
        end = at + _head.size + count * MARK
        if end + _code.size > len(data) or _code.unpack_from(data, end)[0] != binascii.crc32(data[at:end]):
            break
        records.append((sender, data[at + _head.size : end]))
        at = end + _code.size
    return records, at
