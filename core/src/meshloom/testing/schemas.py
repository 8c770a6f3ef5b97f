"""Whether a JSON answer is what an OpenAPI document says of it: the part of JSON Schema that our documents use."""

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}


def misfits(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Says what of the value the schema does not allow, a sentence each.

    References lead to *schemas*, the document's named ones.
    """
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [list(misfits(value, each, schemas, where)) for each in schema["anyOf"]]
        yield from min(found, key=len)
        return
    types = schema.get("type", [])
    allowed = [types] if isinstance(types, str) else types
    if allowed and type(value) not in [_TYPES[name] for name in allowed]:
        yield f"{where} is {value!r:.80}, and not {' or '.join(allowed)}"
    elif isinstance(value, list):
        for item in value:
            yield from misfits(item, schema.get("items", {}), schemas, f"{where}[]")
    elif isinstance(value, dict):
        yield from _fields(value, schema, schemas, where)


def _fields(
    value: Mapping[str, Any], schema: Mapping[str, Any], schemas: Mapping[str, Any], where: str
) -> Iterator[str]:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name in set(schema.get("required", ())) - value.keys():
        yield f"{where}.{name} is missing"
    for name, item in value.items():
        if name in properties or not properties:
            yield from misfits(item, properties.get(name, more), schemas, f"{where}.{name}")
        else:
            yield f"{where}.{name} is not described"
