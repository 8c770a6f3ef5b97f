"""The daemon's log: to where it was told, from the level that it was told; and the last of all of it in memory."""

import logging
import sys
from collections import deque
from pathlib import Path

from meshloom.errors import ConfigError
from meshloom.log_file import LogFile
from meshloom.log_levels import level_number, set_levels
from meshloom.log_lines import log_to

_log = logging.getLogger(__name__)

MOST_BYTES = 4 << 20
LONGEST_LINE = 8 << 10


class LogRing(logging.Handler):
    """Keeps the newest lines, also those that are not logged anywhere else.

    Args:
        most: Characters of all lines together; the oldest go first.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        super().__init__(logging.DEBUG)
        log_to(self)
        self._most, self._size = most, 0
        self._lines: deque[str] = deque()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, and forget what there is no more room for."""
        try:
            line = self.format(record)[:LONGEST_LINE]
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a bad record ends nothing
            self.handleError(record)
            return
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self._most:
            self._size -= len(self._lines.popleft()) + 1

    @property
    def text(self) -> str:
        """All lines, the oldest first."""
        return "".join(f"{line}\n" for line in self._lines)


class DaemonLogs:
    """What is logged where; nothing until :meth:`install`."""

    def __init__(self) -> None:
        self.ring = LogRing()
        self._shown: logging.Handler = logging.NullHandler()

    def install(self, level: str, file: Path | None = None) -> None:
        """Log to the file or to standard error from that level on, and everything of ours to the ring.

        Raises:
            ConfigError: There is no such level, or the file cannot be written.
        """
        number = level_number(level)
        try:
            self._shown = log_to(LogFile(file) if file else logging.StreamHandler(sys.stderr))
        except OSError as error:
            raise ConfigError(f"--log-file {file}: cannot be written: {error.strerror}") from error
        root = logging.getLogger()
        root.addHandler(self._shown)
        root.addHandler(self.ring)
        self.level = number

    def reopen(self) -> None:
        """Open the log's file of that name; nothing without one."""
        if isinstance(self._shown, LogFile):
            if self._shown.reopen():
                _log.info("log file opened again")
            else:
                _log.warning("the log file cannot be opened again; the old one is written on")

    @property
    def level(self) -> int:
        """From which level on records are logged, besides to the ring; a number of :mod:`logging`."""
        return self._shown.level

    @level.setter
    def level(self, number: int) -> None:
        self._shown.setLevel(number)
        set_levels(logging.DEBUG, number)
