"""No second agent on an interface, whichever backend each has."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from meshloom.errors import TunnelError

FOLDER = Path("/var/run/wireguard")


@contextlib.contextmanager
def only_one(interface: str) -> Iterator[None]:
    """Holds the interface; the lock is gone with the process that held it, and its file at an orderly end.

    Raises:
        TunnelError: Another agent holds it, or locks cannot be made here.
    """
    path = FOLDER / f"{interface}.meshloom.lock"
    with _locked(path, interface):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path, interface: str) -> TextIO:
    while True:
        try:
            FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = path.open("w")
        except OSError as error:
            raise TunnelError(f"{path} cannot be made: {error.strerror}; run as root") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise TunnelError(
                f"another agent uses the interface {interface}: choose another with --interface-name"
            ) from error
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()  # its holder removed it after it was opened: a third agent would lock another file
