"""The description of the API (OpenAPI 3.1), made from the table of its endpoints and the classes in it."""

import re
import types
from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Union, get_args, get_origin

import attrs

from meshloom import __version__
from meshloom_management.api.endpoint import Endpoint
from meshloom_management.api.json import OMITTED

Schema = dict[str, Any]

_PRIMITIVES: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    IPv4Address: {"type": "string", "format": "ipv4"},
    IPv6Address: {"type": "string", "format": "ipv6"},
    Any: {},
}


def document(endpoints: Iterable[Endpoint]) -> Schema:
    """The description of these endpoints."""
    schemas: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    schemas["Error"] = {
        "type": "object",
        "description": "What is wrong.",
        "properties": {"message": {"type": "string"}, "code": {"type": "integer"}},
        "required": ["message", "code"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Meshloom", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token <personal access token>`, or `Bearer` in place of `Token`.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Schema]) -> Schema:
    answer = _schema(endpoint.response, schemas) if endpoint.response is not None else {"type": "object"}
    operation: Schema = {
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[2]],
        "security": [] if endpoint.public else [{"token": []}],
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": answer}}},
            "default": {
                "description": "Refused.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ] + [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in endpoint.query.items()
    ]
    parameters += [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in endpoint.headers.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.request is not None:
        content = {"application/json": {"schema": _schema(endpoint.request, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _schema(kind: Any, schemas: dict[str, Schema]) -> Schema:
    if kind in _PRIMITIVES:
        return dict(_PRIMITIVES[kind])
    if attrs.has(kind):
        if kind.__name__ not in schemas:
            schemas[kind.__name__] = {}  # so that a class that speaks of itself comes to an end
            schemas[kind.__name__].update(_object(kind, schemas))
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], schemas)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], schemas)}
    if origin in (Union, types.UnionType):
        return _union(arguments, schemas)
    raise TypeError(f"{kind!r} has no schema")


def _nullable(schema: Schema) -> Schema:
    """The schema, with null among its values."""
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _union(kinds: tuple[Any, ...], schemas: dict[str, Schema]) -> Schema:
    chosen = [kind for kind in kinds if kind is not type(None)]
    if datetime in chosen and str in chosen:
        return _schema(datetime, schemas)  # the text is the moment that never came
    if len(chosen) != 1:
        raise TypeError(f"{kinds!r} has no schema")
    schema = _schema(chosen[0], schemas)
    return _nullable(schema) if len(chosen) < len(kinds) else schema


def _field(field: "attrs.Attribute[Any]", schemas: dict[str, Schema]) -> Schema:
    """The schema of a field; an answer's that is left out while None is never null."""
    kind = field.type
    if field.metadata.get(OMITTED):
        (kind,) = (inner for inner in get_args(kind) if inner is not type(None))
    return _schema(kind, schemas)


def _object(kind: Any, schemas: dict[str, Schema]) -> Schema:
    summary, _, arguments = (kind.__doc__ or "").partition("Args:")
    joined = re.sub(r"\n {12,}", " ", arguments)
    texts = dict(re.findall(r"^ {8}(\w+): (.+)$", joined, re.MULTILINE))
    fields = attrs.fields(kind)
    described: Schema = {"type": "object", "description": " ".join(summary.split()), "properties": {}}
    for field in fields:
        schema = _field(field, schemas)
        if field.name in texts:
            schema["description"] = texts[field.name]
        described["properties"][field.name] = schema
    answer = not kind.__name__.endswith("Request")
    required = [field.name for field in fields if answer and not field.metadata.get(OMITTED)]
    return {**described, "required": required} if required else described
