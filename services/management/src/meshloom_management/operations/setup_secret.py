"""The secret of the first set-up: made and shown at the start of a server that nobody owns, good once."""

import hmac
import logging
import os
import secrets
from pathlib import Path

from meshloom.errors import ConfigError
from meshloom.own_file import read_own
from meshloom_front.private_file import write_private

log = logging.getLogger(__name__)

FILE = "setup.secret"
_BYTES = 24


class SetupSecret:
    """The secret that whoever makes the first account must show; its ``repr`` does not reveal it.

    Args:
        text: The secret.
        file: Where it is kept until there is an account; None where it is kept nowhere.
    """

    def __init__(self, text: str, file: Path | None = None) -> None:
        self._text, self._file = text, file

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def matches(self, given: str) -> bool:
        """Whether *given* is the secret, in a time that tells nothing of it."""
        return hmac.compare_digest(given.encode(errors="replace"), self._text.encode())

    def forget(self) -> None:
        """Removes the file. Where that fails, the next start does it."""
        try:
            if self._file is not None:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s is of no use any more and cannot be removed: %s", self._file, error.strerror)


def kept_secret(folder: Path, *, needed: bool) -> SetupSecret | None:
    """Returns the secret in the data folder, made where there is none; removes it where it is not *needed*.

    Raises:
        ConfigError: The file cannot be used.
    """
    file = folder / FILE
    try:
        if not needed:
            file.unlink(missing_ok=True)
            return None
        text = read_own(file).decode().strip() if os.path.lexists(file) else ""  # it will be in the log
        return SetupSecret(text or _make(file), file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be used: {error.strerror}; check the disk, its owner and mode") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not text: restore it from a backup, or delete it") from error


def _make(file: Path) -> str:
    text = secrets.token_urlsafe(_BYTES)
    write_private(file, text + "\n")
    return text
