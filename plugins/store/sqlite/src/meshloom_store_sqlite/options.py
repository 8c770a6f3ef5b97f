"""What ``[store.sqlite]`` says."""

from datetime import timedelta

import attrs

from meshloom.config import key


@attrs.frozen
class SqliteOptions:
    """Options of the SQLite store."""

    file: str = key(
        default="meshloom.db", help="The file's name in the data folder, or an absolute path on a local disk."
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
