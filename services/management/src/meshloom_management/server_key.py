"""The server's own key, by which agents seal what they say to it: made at the first start, and kept."""

import os
from pathlib import Path

from meshloom.errors import ConfigError, ProtocolError
from meshloom.model.keys import PrivateKey
from meshloom_front.private_file import write_private

NAME = "server.key"


def prepare_data_dir(folder: Path) -> None:
    """Make the folder, for its owner only.

    Raises:
        ConfigError: It cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"data_dir = {str(folder)!r}: cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"data_dir = {str(folder)!r}: cannot be written; run as its owner or choose another")


def server_key(folder: Path, *, is_known: bool) -> PrivateKey:
    """The key in the data folder, made where there is none.

    Args:
        folder: The data folder.
        is_known: Whether agents may know the server by a key already, so that another one would cut them off.

    Raises:
        ConfigError: The file holds no key, or is missing although agents may know the server by it.
    """
    kept = kept_key(folder)
    if kept is not None:
        return kept
    if is_known:
        raise ConfigError(
            f"{folder / NAME} is missing, though this server has accounts: agents know the server by it: restore it"
            " from the backup; where it is lost for good, `meshloom-server new-key` makes another one"
        )
    return make_key(folder)


def make_key(folder: Path) -> PrivateKey:
    """Makes a key and keeps it in the data folder.

    Raises:
        ConfigError: The file cannot be written.
    """
    made = PrivateKey.of(os.urandom(32))
    try:
        write_private(folder / NAME, made.reveal() + "\n")
    except OSError as error:
        raise _unusable(folder / NAME, error) from error
    return made


def kept_key(folder: Path) -> PrivateKey | None:
    """The key in the data folder; None where there is none yet.

    Raises:
        ConfigError: The file is there, but holds no key.
    """
    file = folder / NAME
    try:
        return PrivateKey.parse(file.read_text()) if file.exists() else None
    except (ProtocolError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} holds no key: restore it from a backup; agents know the server by it; where there is none, delete"
            " the file and run `meshloom-server new-key`"
        ) from error
    except OSError as error:
        raise _unusable(file, error) from error


def _unusable(file: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{file}: cannot be used: {error.strerror}; check the disk, its owner and mode")
