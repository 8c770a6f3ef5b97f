"""Files of secrets, which only the server's user may read."""

import os
from pathlib import Path


def write_private(file: Path, text: str) -> None:
    """Writes the whole file or nothing, with mode 0600; it is on the disk when this returns.

    Raises:
        OSError: The file cannot be written.
    """
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
