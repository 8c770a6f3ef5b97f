"""A log file that others may rename or remove at any time, as logrotate does."""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path


class LogFile(logging.Handler):
    """Appends each record's line to a file; goes on in a new file where the old one was renamed or removed.

    Whatever happens to the file or its disk ends nothing: a line that cannot be written is lost, and where no new file
    can be made, the old one is written on.

    Args:
        path: The file; it is opened at once.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path.absolute()
        self._file = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line at once."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            if not self._is_in_place():
                self.reopen()
            os.write(self._file, line)
        except Exception:  # noqa: BLE001 - as logging's own handlers: a bad record, or a full disk, ends nothing
            return

    def reopen(self) -> bool:
        """Opens the file of that name, and returns whether that could be done."""
        with self._locked():
            try:
                made = self._open()
            except OSError:
                return False
            os.close(self._file)
            self._file = made
            return True

    def close(self) -> None:
        """Closes the file; nothing is written any more."""
        with self._locked():
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
        super().close()

    def _locked(self) -> AbstractContextManager[object]:
        return self.lock or nullcontext()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _is_in_place(self) -> bool:
        try:
            there, ours = self._path.stat(), os.fstat(self._file)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
