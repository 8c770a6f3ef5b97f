"""Strict conversion of TOML values: no number is a truth value, no text a number; unknown keys are errors."""

import re
import typing
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from meshloom.config.secret import Secret
from meshloom.errors import ConfigError

SEQUENCES = (tuple, list, frozenset)
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(value: Any) -> timedelta:
    """``"90s"``, ``"1h30m"``, ``"24h"``, ``"30d"``, or a number of seconds."""
    try:
        if type(value) in (int, float) and value >= 0:
            return timedelta(seconds=value)
        if isinstance(value, str) and re.fullmatch(r"(\d+(\.\d+)?(ms|[smhd]))+", value):
            parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", value)
            return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in parts))
    except (OverflowError, ValueError):
        raise ValueError(f"{value!r} is longer than a duration can be") from None
    raise ValueError(f'{value!r} is no duration; write it like "90s", "1h30m" or "24h"')


def _strict(kind: type[Any], *accepted: type[Any]) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if type(value) not in (accepted or (kind,)):
            raise TypeError(f"{value!r} is {_article(type(value).__name__)}; {_article(kind.__name__)} is wanted")
        return kind(value)

    return structure


def _article(name: str) -> str:
    known = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "text", "list": "a list"}
    return known.get(name, {"dict": "a table"}.get(name, name))


def _parsed(parse: Any, example: str) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is {_article(type(value).__name__)}; text like {example!r} is wanted")
        try:
            return parse(value)
        except ValueError:
            raise ValueError(f"{value!r} is wrong; it is written like {example!r}") from None

    return structure


def _enumeration(value: Any, kind: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        listed = ", ".join(repr(member.value) for member in kind)
        raise ValueError(f"{value!r} is none of {listed}") from None


def make_converter() -> Converter:
    """A converter of configuration values."""
    converter = Converter(forbid_extra_keys=True)
    for plain in (bool, int, str):
        converter.register_structure_hook(plain, _strict(plain))
    converter.register_structure_hook(float, _strict(float, float, int))
    converter.register_structure_hook(Secret, lambda value, _: Secret.structure(value))
    converter.register_structure_hook(timedelta, lambda value, _: duration(value))
    converter.register_structure_hook(Path, _parsed(Path, "/var/lib/meshloom"))
    for parse, kinds, example in (
        (ip_network, {IPv4Network, IPv6Network}, "100.64.0.0/16"),
        (ip_address, {IPv4Address, IPv6Address}, "192.0.2.1"),
    ):
        for kind in kinds:
            converter.register_structure_hook(kind, _parsed(kind, "2001:db8::/64" if kind is IPv6Network else example))
        converter.register_structure_hook_func(partial(_is_either, kinds), _parsed(parse, example))
    converter.register_structure_hook_func(lambda hint: isinstance(hint, type) and issubclass(hint, Enum), _enumeration)
    converter.register_structure_hook_func(_is_sequence, _sequence(converter))
    return converter


def _is_either(kinds: set[type[Any]], hint: Any) -> bool:
    return set(typing.get_args(hint)) - {type(None)} == kinds


def _is_sequence(hint: Any) -> bool:
    return typing.get_origin(hint) in SEQUENCES


def _sequence(converter: Converter) -> Any:
    def structure(value: Any, hint: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is {_article(type(value).__name__)}; a list is wanted")
        item = typing.get_args(hint)[0]
        made, wrong = [], []
        for place, each in enumerate(value):
            try:
                made.append(converter.structure(each, item))
            except (ValueError, TypeError, BaseValidationError) as error:
                error.add_note(IterableValidationNote("", place, item))
                wrong.append(error)
        if wrong:
            raise IterableValidationError("", wrong, hint)
        return typing.get_origin(hint)(made)

    return structure


def structure(table: Any, kind: type[Any], path: str = "") -> Any:
    """A value of the attrs class *kind* from a table.

    Raises:
        ConfigError: With one sentence for each wrong key, all of them at once.
    """
    try:
        return make_converter().structure(table, kind)
    except BaseValidationError as error:
        raise ConfigError(*_problems(error, path)) from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path or 'the configuration'}: {error}") from None


def _problems(error: BaseException, path: str) -> Iterable[str]:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        for extra in sorted(error.extra_fields):
            yield unknown(_join(path, extra), extra, known)
    elif isinstance(error, (ClassValidationError, IterableValidationError)):
        for inner in error.exceptions:
            yield from _problems(inner, path + _place(inner) if _place(inner) else _join(path, _field(inner)))
    elif isinstance(error, KeyError):
        yield f"{_join(path, str(error.args[0]))}: is required"
    elif said := re.fullmatch(r"'(\w+)' (must .*): (.*)", str(error.args[0]) if error.args else "", re.DOTALL):
        yield f"{_join(path, said[1])}: {said[3]} is not allowed; it {said[2]}"  # an attrs validator's sentence
    else:
        yield f"{path or 'the configuration'}: {error.args[0] if error.args else error}"


def unknown(path: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a key that is not one, with the nearest that is."""
    known = sorted(known)
    near = get_close_matches(name, known, 1)
    fix = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(known) or 'none'}"
    return f"{path}: no such key; {fix}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _field(error: BaseException) -> str:
    notes = (note for note in getattr(error, "__notes__", ()) if isinstance(note, AttributeValidationNote))
    return next((note.name for note in notes), "")


def _place(error: BaseException) -> str:
    notes = (note for note in getattr(error, "__notes__", ()) if isinstance(note, IterableValidationNote))
    return next((f"[{note.index}]" for note in notes), "")
