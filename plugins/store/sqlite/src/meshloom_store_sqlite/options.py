"""What ``[store.sqlite]`` says."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from meshloom.config import key


def _name_a_file(_options: Any, _attribute: Any, value: str) -> None:
    if Path(value).name in ("", "..") or value.endswith("/"):
        raise ValueError(f"'file' must name a file, like meshloom.db: {value!r}")


@attrs.frozen
class SqliteOptions:
    """Options of the SQLite store."""

    file: str = key(
        default="meshloom.db",
        help="The file's name in the data folder, or an absolute path on a local disk.",
        validator=_name_a_file,
    )
    busy_timeout: timedelta = key(
        default=timedelta(seconds=5),
        help="How long to wait for another process that holds the file, such as a backup program.",
    )
    survive_power_loss: bool = key(
        default=True,
        help="Wait for the disk at every commit. Without it a power cut may undo the last commits, and a machine that "
        'was told "you are enrolled" would be a stranger afterwards, its one-off key possibly spent by another; a '
        "killed process loses nothing either way. Off is for trials and slow disks.",
    )
