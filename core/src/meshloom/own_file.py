"""Files in a folder where another user may have put links, pipes or devices in their place."""

import errno
import os
import stat
from pathlib import Path

PRIVATE = 0o600
"""The mode of a file for its owner alone."""


def open_own(file: Path, flags: int) -> int:
    """Opens the file of that name itself, made with mode 0600 where the flags say so; never what a link leads to.

    Raises:
        OSError: It cannot be opened, or is something else; ``strerror`` says what.
    """
    try:
        # a pipe must not wait for its other end
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", str(file)) from error
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        wrong = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(wrong, "is not a regular file", str(file))
    return descriptor


def open_new(file: Path, flags: int) -> int:
    """Opens a file that is made now, with mode 0600; what had its name is removed, a link and not what it leads to.

    Raises:
        OSError: It cannot be made.
    """
    file.unlink(missing_ok=True)
    return os.open(file, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)


def read_own(file: Path) -> bytes:
    """The content of the file of that name itself, never of what a link leads to.

    Raises:
        OSError: It cannot be read, or is something else.
    """
    with os.fdopen(open_own(file, os.O_RDONLY), "rb") as stream:
        return stream.read()
