"""Files of secrets, which only the server's user may read."""

import os
from pathlib import Path

from meshloom.own_file import open_new


def write_private(file: Path, text: str) -> None:
    """Writes the whole file or nothing, with mode 0600; it is on the disk when this returns.

    Raises:
        OSError: The file cannot be written.
    """
    draft = file.with_suffix(".new")
    with os.fdopen(open_new(draft, os.O_WRONLY), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
