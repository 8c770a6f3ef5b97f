"""Entities as plain documents of JSON types, and back: what stores keep.

A document has every field, defaults included, so that a later change of a default does not change what is stored.
Reading is strict (no field too many, no value of another type), but a missing field with a default is filled in: adding
one needs no migration.

Moments are RFC 3339 in UTC with microseconds, durations seconds, sets sorted lists, keys base64, enums their values.
"""

import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeVar, Union, get_args, get_origin

from cattrs import Converter, transform_error

from meshloom.errors import ProtocolError, StoreError
from meshloom.model.keys import PublicKey

T = TypeVar("T")

Document = dict[str, Any]


def to_document(entity: Any) -> Document:
    """The entity in JSON types.

    Raises:
        ValueError: A moment has no time zone: it cannot be compared with others.
    """
    document: Document = _FAST.unstructure(entity)
    return document


def to_plain(value: object) -> Any:
    """One field's value as it stands in a document."""
    return _FAST.unstructure(value)


def from_document(kind: type[T], document: Any) -> T:
    """The entity that a document describes.

    Raises:
        StoreError: It describes none; names the class, the fields and what is wrong with them.
    """
    try:
        return _FAST.structure(document, kind)
    except Exception:  # noqa: BLE001 - whatever a damaged document causes, the slow way below explains it
        return _explained(kind, document)


def _explained(kind: type[T], document: Any) -> T:
    try:
        return _EXPLAINING.structure(document, kind)
    except Exception as error:
        problems = "; ".join(transform_error(error, kind.__name__, lambda cause, _: str(cause) or type(cause).__name__))
        raise StoreError(f"a stored document is damaged or of another version: {problems}") from error


def _converter(*, detailed: bool) -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=detailed)
    for primitive in (str, bool, int):
        converter.register_structure_hook(primitive, _exactly(primitive))
    converter.register_structure_hook(StrEnum, _member)  # before that of str, which its members are, too
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    for address in (IPv4Address, IPv6Address, IPv4Network, IPv6Network):
        converter.register_unstructure_hook(address, str)
        converter.register_structure_hook(address, _parsed(address))
    converter.register_unstructure_hook(datetime, _moment_text)
    converter.register_structure_hook(datetime, _moment)
    converter.register_unstructure_hook(timedelta, _seconds)
    converter.register_structure_hook(timedelta, _duration)
    converter.register_unstructure_hook(PublicKey, lambda key: key.text)
    converter.register_structure_hook(PublicKey, _public_key)
    converter.register_unstructure_hook_factory(_is_frozenset, lambda kind: _sorted_list(kind, converter))
    converter.register_structure_hook_factory(_is_optional, lambda kind: _optional(kind, converter))
    return converter


def _exactly(primitive: type[Any]) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not primitive:
            raise TypeError(f"expected {primitive.__name__}, not {value!r:.40}")
        return value

    return check


def _parsed(kind: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    def parse(value: Any, _: Any) -> Any:
        if type(value) is not str:
            raise TypeError(f"expected an address in text, not {value!r:.40}")
        return kind(value)

    return parse


def _member(value: Any, kind: Any) -> Any:
    return kind(value)


def _moment_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: make it with datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(value: Any, _: Any) -> datetime:
    if type(value) is not str:
        raise TypeError(f"expected a moment in text, not {value!r:.40}")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _seconds(duration: timedelta) -> int | float:
    seconds = duration.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _duration(value: Any, _: Any) -> timedelta:
    if type(value) not in (int, float):
        raise TypeError(f"expected seconds, not {value!r:.40}")
    return timedelta(seconds=value)


def _public_key(value: Any, _: Any) -> PublicKey:
    if type(value) is not str:
        raise TypeError(f"expected a key in text, not {value!r:.40}")
    try:
        return PublicKey.parse(value)
    except ProtocolError as error:
        raise ValueError(str(error)) from error


def _is_frozenset(kind: Any) -> bool:
    return kind is frozenset or get_origin(kind) is frozenset


def _sorted_list(kind: Any, converter: Converter) -> Callable[[Any], list[Any]]:
    (item,) = get_args(kind) or (Any,)
    unstructure = converter.get_unstructure_hook(item)
    return lambda values: sorted([unstructure(value) for value in values])


def _is_optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind) and len(get_args(kind)) == 2


def _optional(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    (inner,) = (argument for argument in get_args(kind) if argument is not type(None))
    structure = converter.get_structure_hook(inner)
    return lambda value, _: None if value is None else structure(value, inner)


_FAST = _converter(detailed=False)
_EXPLAINING = _converter(detailed=True)
