"""The description of the API says what is offered, and what is answered fits it."""

import re

import pytest

from meshloom.testing import samples
from meshloom_management.api import endpoints
from meshloom_management.api import json as api_json
from meshloom_management.api.endpoints import ENDPOINTS, description

pytestmark = pytest.mark.anyio


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


async def test_who_has_the_description_already_is_not_sent_it_again(server):
    first = await server.client.get("/api/openapi.json")
    tag = first.headers["etag"]
    for held in (tag, f'"another", {tag}', f"W/{tag}"):
        again = await server.client.get("/api/openapi.json", headers={"If-None-Match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await server.client.get("/api/openapi.json", headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, first.content)


async def test_the_description_is_encoded_once(server, monkeypatch):
    await server.client.get("/api/openapi.json")

    def fail(_):
        raise AssertionError("encoded once more")

    monkeypatch.setattr(endpoints, "description", fail)
    monkeypatch.setattr(api_json, "encode", fail)
    assert (await server.client.get("/api/openapi.json")).status_code == 200


async def test_answers_fit_the_description(server, misfit):
    account = {"account_id": server.account}
    policy = samples.policy(**account)
    await server.put(samples.setup_key(**account), samples.group(**account), samples.peer(**account), policy)
    (token, *_) = server.state.tokens.values()
    values = {"user": token.user_id, "token": token.id}
    ids = {"setup-keys": "key", "peers": "peer", "groups": "group", "policies": "policy"}
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and endpoint.path != "/api/openapi.json":
            path = endpoint.path.format(**values, id=ids.get(endpoint.path.split("/")[2]))
            answer = await server.ask("owner", "GET", path)
            assert answer.status_code == 200, path
            assert misfit("GET", path, answer) == ""


def test_what_may_be_null_is_described_so():
    schemas = description()["components"]["schemas"]
    extra = schemas["ExtraSettings"]["properties"]
    assert extra["network_traffic_logs_groups"]["type"] == ["array", "null"]
    assert schemas["SettingsAnswer"]["properties"]["network_range"]["type"] == "string"
    assert schemas["PeerAnswer"]["properties"]["ipv6"]["type"] == "string", "left out, and never null"
