"""Secrets of the configuration: never literals, always ``{ file = "..." }`` or ``{ env = "..." }``."""

import os
from pathlib import Path
from typing import Any, Self

import attrs


@attrs.frozen(repr=False)
class Secret:
    """A value that neither ``repr`` nor ``str`` shows."""

    _value: str

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    @classmethod
    def structure(cls, table: Any) -> Self:
        """From its table in the configuration.

        Raises:
            ValueError, TypeError: It is no such table, or what it names cannot be read; the message never has the
                secret.
        """
        if isinstance(table, cls):
            return table
        if not isinstance(table, dict) or len(table) != 1 or next(iter(table)) not in ("file", "env"):
            raise ValueError('a secret is written as { file = "/path" } or { env = "VARIABLE" }, never itself')
        (source, name), *_ = table.items()
        if not isinstance(name, str):
            raise TypeError(f"{source} of a secret must be text")
        if source == "env":
            if name not in os.environ:
                raise ValueError(f"the environment variable {name} is not set")
            return cls(os.environ[name])
        try:
            return cls(Path(name).read_text().strip())
        except OSError as error:
            raise ValueError(f"the file {name} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ValueError(f"the file {name} is not UTF-8 text") from None

    def __repr__(self) -> str:
        return "Secret(...)"
