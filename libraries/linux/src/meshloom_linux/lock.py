"""No second agent on an interface, whichever backend each has."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from meshloom.errors import TunnelError

FOLDER = Path("/var/run/wireguard")


@contextlib.contextmanager
def only_one(interface: str) -> Iterator[None]:
    """Hold the interface; the lock is gone with whoever held it.

    Raises:
        TunnelError: Another agent holds it, or locks cannot be made here.
    """
    path = FOLDER / f"{interface}.meshloom.lock"
    with contextlib.ExitStack() as stack:
        try:
            FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = stack.enter_context(path.open("w"))
        except OSError as error:
            raise TunnelError(f"{path} cannot be made: {error.strerror}; run as root") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TunnelError(
                f"another agent uses the interface {interface}: choose another with --interface-name"
            ) from error
        yield
