"""From file, environment and flags to a configuration object; a flag wins over the environment, that over the file."""

import contextlib
import os
import tomllib
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from meshloom.config.convert import structure
from meshloom.config.keys import Key, keys_of
from meshloom.errors import ConfigError

T = TypeVar("T")

WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_toml(file: Path) -> dict[str, Any]:
    """The file's tables.

    Raises:
        ConfigError: It cannot be read, or is no TOML; names the line.
    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=str(file)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is no TOML: {error}", source=str(file)) from error


def load(
    config: type[T],
    file: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, str] | None = None,
    apart: Collection[str] = (),
) -> tuple[T, dict[str, dict[str, Any]]]:
    """Configuration of a service.

    Args:
        config: Its attrs class.
        file: TOML; None where there is none.
        environment: Variables; those of the class's keys are used.
        flags: Texts of the command line by dotted key.
        apart: Names of tables that are handed back as they are: those that select backends, and ``plugins``.

    Returns:
        The configuration, and the tables set apart (empty ones where the file has none).

    Raises:
        ConfigError: All problems at once, with the file's name.
    """
    tables = read_toml(file) if file else {}
    kept = {name: tables.pop(name, {}) for name in apart}
    source = str(file) if file else ""
    wrong = [f"{name}: {value!r} is no table" for name, value in kept.items() if not isinstance(value, dict)]
    if wrong:
        raise ConfigError(*wrong, source=source)
    for kind, table in kept.items():
        if (name := environment.get(f"MESHLOOM_{kind.upper()}_BACKEND")) is not None:
            kept[kind] = {**table, "backend": name}
    problems: list[str] = []
    for key in keys_of(config):
        text, origin = (flags or {}).get(key.name), key.flag
        if text is None:
            text, origin = environment.get(key.environment), key.environment
        if text is not None:
            try:
                _put(tables, key.name, from_text(key, text))
            except ValueError as error:
                problems.append(f"{origin}: {error}")
    if problems:
        raise ConfigError(*problems)
    try:
        return structure(tables, config), kept
    except ConfigError as error:
        raise ConfigError(*error.problems, source=source) from None


def from_text(key: Key, text: str) -> Any:
    """A flag's or variable's text as the value that the file would have."""
    name = str(key.type)
    if "Secret" in name:
        return {"file": text[1:]} if text.startswith("@") else {"env": key.environment}
    if "tuple" in name or "frozenset" in name or "list" in name:
        return [part.strip() for part in text.split(",") if part.strip()]
    if key.type is bool:
        if text.lower() not in WORDS:
            raise ValueError(f"{text!r} is neither true nor false")
        return WORDS[text.lower()]
    if key.type in (int, int | None, float, timedelta):
        for number in (int, float):
            with contextlib.suppress(ValueError):
                return number(text)
    return text


def _put(tables: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = tables.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{part} is no table in the file")  # noqa: TRY004 - reported with the others
        tables = inner
    tables[last] = value
