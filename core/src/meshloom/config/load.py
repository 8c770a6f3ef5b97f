"""From file, environment and flags to a configuration object; a flag wins over the environment, that over the file."""

import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from meshloom.config.convert import SEQUENCES, structure
from meshloom.config.keys import Key, keys_of
from meshloom.config.secret import Secret
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
    source = str(file) if file else ""
    tables = read_toml(file) if file else {}
    kept = {name: tables.pop(name, {}) for name in apart}
    problems = [
        f"{name}: {value!r} is no table; write [{name}]" for name, value in kept.items() if not _is_table(value)
    ]
    problems += override(tables, keys_of(config), environment, flags or {})
    for kind in apart:
        if (
            not problems
            and (text := (flags or {}).get(f"{kind}.backend", environment.get(_variable(kind)))) is not None
        ):
            kept[kind] = {**kept[kind], "backend": text}
    try:
        made = structure(tables, config)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems, source=source) from None
    if problems:
        raise ConfigError(*problems, source=source)
    return made, kept


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _variable(kind: str) -> str:
    return f"MESHLOOM_{kind.upper()}_BACKEND"


def override(
    tables: dict[str, Any], keys: Iterable[Key], environment: Mapping[str, str], flags: Mapping[str, str]
) -> list[str]:
    """Put what flags and environment say of the keys over the file's tables; returns what is wrong with them."""
    problems = []
    for key in keys:
        if key.name in flags:
            origin, text, read = key.flag, flags[key.name], from_flag
        elif key.environment in environment:
            origin, text, read = key.environment, environment[key.environment], from_variable
        else:
            continue
        try:
            _put(tables, key.name, read(key, text))
        except ValueError as error:
            problems.append(f"{origin}: {error}")
    return problems


def from_flag(key: Key, text: str) -> Any:
    """A flag's text as the value that the file would have; a secret's flag names the file that holds it.

    Raises:
        ValueError: It is not of the key's type.
    """
    return {"file": text} if key.is_secret else _from_text(_bare(key.type), text)


def from_variable(key: Key, text: str) -> Any:
    """An environment variable's text as the value that the file would have; a secret's variable holds it itself.

    Raises:
        ValueError: It is not of the key's type.
    """
    return Secret(text) if key.is_secret else _from_text(_bare(key.type), text)


def _from_text(kind: Any, text: str) -> Any:
    if get_origin(kind) in SEQUENCES:
        (item, *_) = get_args(kind)
        return [_from_text(_bare(item), part.strip()) for part in text.split(",") if part.strip()]
    if kind is bool:
        if text.lower() not in WORDS:
            raise ValueError(f"{text!r} is neither true nor false")
        return WORDS[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is {'no integer' if kind is int else 'no number'}") from None
    if kind is timedelta and re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    return text


def _bare(hint: Any) -> Any:
    """The type without ``| None``."""
    members = [member for member in get_args(hint) if member is not type(None)]
    return members[0] if get_origin(hint) in (Union, UnionType) and len(members) == 1 else hint


def _put(tables: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = tables.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{part} is no table in the file")  # noqa: TRY004 - reported with the others
        tables = inner
    tables[last] = value
