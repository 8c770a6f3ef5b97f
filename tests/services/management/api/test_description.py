"""The description of the API says what is offered, and what is answered fits it."""

import re

import pytest

from meshloom.testing import samples
from meshloom_management.api.endpoints import ENDPOINTS, description

pytestmark = pytest.mark.anyio

PYTHON_TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def test_every_endpoint_is_described():
    described = {(method.upper(), path) for path, methods in description()["paths"].items() for method in methods}
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_every_reference_leads_somewhere():
    schemas = description()["components"]["schemas"]
    references = re.findall(r"#/components/schemas/(\w+)", repr(description()))
    assert set(references) <= schemas.keys()
    assert all(schema["description"] for schema in schemas.values())


def test_parameters_of_paths_are_described():
    for path, methods in description()["paths"].items():
        for operation in methods.values():
            described = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
            assert described == re.findall(r"{(\w+)}", path)


async def test_it_is_served_to_everybody(server):
    assert (await server.client.get("/api/openapi.json")).json() == description()


async def test_answers_fit_the_description(server):
    account = {"account_id": server.account}
    policy = samples.policy(**account)
    await server.put(samples.setup_key(**account), samples.group(**account), samples.peer(**account), policy)
    (token, *_) = server.state.tokens.values()
    values = {"user": token.user_id, "token": token.id}
    ids = {"setup-keys": "key", "peers": "peer", "groups": "group", "policies": "policy"}
    described = description()
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and endpoint.path != "/api/openapi.json":
            path = endpoint.path.format(**values, id=ids.get(endpoint.path.split("/")[2]))
            answer = await server.ask("owner", "GET", path)
            assert answer.status_code == 200, path
            operation = described["paths"][endpoint.path]["get"]
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            fits(answer.json(), schema, described["components"]["schemas"], path)


def fits(value, schema, schemas, where):
    """What little of JSON Schema our schemas use."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if value is None:
        return
    assert type(value) is PYTHON_TYPES[schema["type"]], where
    if schema["type"] == "array":
        for item in value:
            fits(item, schema["items"], schemas, f"{where}[]")
    elif "properties" in schema:
        assert set(schema.get("required", ())) <= value.keys() <= schema["properties"].keys(), where
        for key, item in value.items():
            fits(item, schema["properties"][key], schemas, f"{where}.{key}")
