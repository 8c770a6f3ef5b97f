"""JSON as clients of the API send and expect it.

Requests: keys in any letter case, unknown ones ignored, ``null`` and what is missing take the field's default, and a
value of another type refuses the whole. Responses: every field, but those that are ``omitted`` while None.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter

T = TypeVar("T")

OMITTED = "meshloom.api.omitted"
NEVER = "0001-01-01T00:00:00Z"
"""How clients expect a moment that has not come."""

_INT64 = 2**63


class UnreadableRequest(Exception):
    """The body is not JSON, or not of the types that the request has."""


def optional(**more: Any) -> Any:
    """A response's field that is left out while None."""
    return attrs.field(default=None, metadata={OMITTED: True}, **more)


def parse(body: bytes, request: type[T]) -> T:
    """The request that a body holds; of its values only the types are checked.

    Raises:
        UnreadableRequest: It holds none.
    """
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
        return _requests.structure({} if document is None else document, request)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableRequest from error


def encode(response: Any) -> bytes:
    """The body of a response."""
    return json.dumps(_responses.unstructure(response), separators=(",", ":"), ensure_ascii=False).encode()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _exactly(primitive: type[Any]) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not primitive:
            raise TypeError(f"expected {primitive.__name__}")
        return value

    return check


def _integer(value: Any, _: Any) -> int:
    if type(value) is not int or not -_INT64 <= value < _INT64:
        raise TypeError("expected an integer of 64 bits")
    return value


def _text(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise TypeError("expected text")
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of pairs become U+FFFD


def _list(kind: Any) -> Callable[[Any, Any], Any]:
    (item,) = get_args(kind)
    structure = _requests.get_structure_hook(item)

    def items(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise TypeError("expected a list")
        return [structure("" if element is None and item is str else element, item) for element in value]

    return items


def _mapping(kind: Any) -> Callable[[Any, Any], Any]:
    _, item = get_args(kind)
    structure = _requests.get_structure_hook(item)

    def mapping(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise TypeError("expected an object")
        return {_text(key, str): structure(element, item) for key, element in value.items()}

    return mapping


def _optional(kind: Any) -> Callable[[Any, Any], Any]:
    (inner,) = (argument for argument in get_args(kind) if argument is not type(None))
    structure = _requests.get_structure_hook(inner)
    return lambda value, _: None if value is None else structure(value, inner)


def _object(kind: Any) -> Callable[[Any, Any], Any]:
    fields = {
        field.name.lower(): (field.name, _requests.get_structure_hook(field.type), field.type)
        for field in attrs.fields(kind)
    }

    def build(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise TypeError("expected an object")
        found: dict[str, Any] = {}
        for key, element in value.items():
            if element is not None and (field := fields.get(key.lower())) is not None:
                name, structure, field_type = field
                found[name] = structure(element, field_type)
        return kind(**found)

    return build


def _is_a(origin: type[Any], kind: Any) -> bool:
    return get_origin(kind) is origin


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _answer(kind: Any) -> Callable[[Any], dict[str, Any]]:
    fields = [(field.name, bool(field.metadata.get(OMITTED))) for field in attrs.fields(kind)]

    def build(response: Any) -> dict[str, Any]:
        return {
            name: _responses.unstructure(value)
            for name, omitted in fields
            if (value := getattr(response, name)) is not None or not omitted
        }

    return build


_requests = Converter(detailed_validation=False)
_requests.register_structure_hook(str, _text)
_requests.register_structure_hook(bool, _exactly(bool))
_requests.register_structure_hook(int, _integer)
_requests.register_structure_hook_factory(attrs.has, _object)
_requests.register_structure_hook_factory(lambda kind: _is_a(list, kind), _list)
_requests.register_structure_hook_factory(lambda kind: _is_a(dict, kind), _mapping)
_requests.register_structure_hook_factory(lambda kind: type(None) in get_args(kind), _optional)

_responses = Converter(detailed_validation=False)
_responses.register_unstructure_hook(datetime, _moment)
_responses.register_unstructure_hook(IPv4Address, str)
_responses.register_unstructure_hook(IPv6Address, str)
_responses.register_unstructure_hook_factory(attrs.has, _answer)
