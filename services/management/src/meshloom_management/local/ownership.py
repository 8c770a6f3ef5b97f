"""Root's commands on a folder that another user owns: done as that user, who may have put links of his into it."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meshloom.errors import ConfigError

_DAC_READ_SEARCH: Final = 1 << 2
_header = struct.Struct("=Ii")
_sets = struct.Struct("=6I")
"""Effective, permitted and inheritable, twice: of capabilities 0 to 31, and of the others."""
_VERSION: Final = 0x20080522


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Lets root have the rights of the folder's owner while the body runs, so that what it makes is the owner's.

    Root reads what it could read before, as its own Python may lie where the owner cannot.

    Raises:
        ConfigError: This process may not become the owner.
    """
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    except OSError as error:
        raise ConfigError(
            f"data_dir = {str(folder)!r}: cannot become its owner, user {owner.st_uid}: {error.strerror}; run the"
            " command as that user"
        ) from error
    _read_everything()
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _read_everything() -> None:
    """Lets this thread, and those that it starts, read all files, where root may do that (capabilities(7))."""
    header, sets = _header.pack(_VERSION, 0), ctypes.create_string_buffer(_sets.size)
    with contextlib.suppress(AttributeError):  # a C library without them
        libc = ctypes.CDLL(None)
        if libc.capget(header, sets) == 0:
            effective, *rest = _sets.unpack(sets.raw)
            libc.capset(header, _sets.pack(effective | _DAC_READ_SEARCH, *rest))
