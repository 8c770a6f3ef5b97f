"""What the system refuses, and who may have it done; root is not told to be root."""

import errno
import os

from meshloom.errors import words_of


def reason(error: OSError) -> str:
    """Returns why the system refused, with the advice that helps this user."""
    text = words_of(error)
    if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
        return f"{text}; run as root"
    return text
