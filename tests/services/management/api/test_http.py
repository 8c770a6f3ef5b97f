"""Paths, methods, CORS, and bodies of every kind."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshloom_management.api import json as api_json
from meshloom_management.api.endpoints import ENDPOINTS
from meshloom_management.api.resources.policies import PolicyRequest

pytestmark = pytest.mark.anyio

NOT_FOUND = (404, "404 page not found\n", "text/plain; charset=utf-8")
UNREADABLE = {"message": "couldn't parse JSON request", "code": 400}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/nope"),
        ("GET", "/api/groups/"),
        ("GET", "/API/groups"),
        ("GET", "//api//groups"),
        ("PATCH", "/api/groups"),
        ("DELETE", "/api/groups"),
        ("PUT", "/api/groups"),
        ("POST", "/api/groups/x"),
        ("POST", "/api/users/current"),
        ("GET", "/api/setup"),
        ("POST", "/api/instance"),
        ("POST", "/api/users"),
        ("GET", "/api/routes"),
        ("GET", "/api/networks"),
        ("GET", "/api/dns/settings"),
        ("GET", "/api/events/audit"),
        ("DELETE", "/api/accounts/x"),
    ],
)
@pytest.mark.parametrize("who", ["owner", None])
async def test_what_is_not_offered_is_404_for_everybody(server, method, path, who):
    answer = await server.ask(who, method, path)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == NOT_FOUND
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head_is_not_offered(server):
    assert (await server.ask("owner", "HEAD", "/api/groups")).status_code == 404


async def test_every_browser_may_ask_what_it_may_ask(server):
    headers = {"Origin": "http://app.test", "Access-Control-Request-Method": "PUT"}
    headers["Access-Control-Request-Headers"] = "authorization,content-type"
    answer = await server.client.options("/api/groups", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type"
    for who in ("owner", None):
        simple = await server.ask(who, "GET", "/api/groups", headers={"Origin": "http://app.test"})
        assert simple.headers["access-control-allow-origin"] == "*"
        assert simple.headers["vary"] == "Origin"


async def test_options_without_a_browser_need_credentials(server):
    assert (await server.client.options("/api/groups")).status_code == 401
    assert (await server.ask("owner", "OPTIONS", "/api/groups")).status_code == 404


async def post(server, body):
    return await server.ask("owner", "POST", "/api/groups", content=body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"name=x",
        b"[]",
        b'"x"',
        b"7",
        b"true",
        b'{"name":7}',
        b'{"name":["x"]}',
        b'{"name":{"x":1}}',
        b'{"name":true}',
        b'{"name":"x","peers":"y"}',
        b'{"name":"x","peers":[7]}',
        b'{"name":"x","peers":{}}',
        b'{"name":"x"} trailing',
        b'{"name":"x"}{"name":"y"}',
        b'\xef\xbb\xbf{"name":"bom"}',
        b'{"name":"\xff"}',
        b'{"name":NaN}',
        b"[" * 100_000,
        b'{"name":' + b"[" * 100_000,
        b'{"name":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_what_is_not_the_right_json_is_400(server, body):
    answer = await post(server, body)
    assert (answer.status_code, answer.json()) == (400, UNREADABLE)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"NAME":"upper"}', "upper"),
        (b'{"name":"one","name":"two"}', "two"),
        (b'{"name":"one","Name":"two"}', "two"),
        (b'{"name":"x","unknown":{"a":[1]}}', "x"),
        (b'{"name":"x","peers":null}', "x"),
        (b'  \n{"name":"spaces"}\n ', "spaces"),
        ('{"name":"ünïcode 名前 😀"}'.encode(), "ünïcode 名前 😀"),
        (rb'{"name":"\ud83d\ude00"}', "😀"),
        (rb'{"name":"half \ud83d"}', "half �"),
        (b'{"name":"<script>"}', "<script>"),
        (rb'{"name":"zero \u0000"}', "zero \0"),
    ],
)
async def test_keys_match_in_any_case_and_unknown_ones_are_ignored(server, body, name):
    answer = await post(server, body)
    assert (answer.status_code, answer.json()["name"]) == (200, name)


async def test_null_is_a_request_without_anything(server):
    assert (await post(server, b"null")).json()["message"] == "group name shouldn't be empty"


async def test_the_type_of_the_content_is_not_looked_at(server):
    headers = {"content-type": "text/plain"}
    answer = await server.ask("owner", "POST", "/api/groups", content=b'{"name":"text"}', headers=headers)
    assert answer.status_code == 200


async def test_a_large_body_is_refused_without_reading_it(server):
    largest = b'{"name":"x","pad":"' + b"x" * (1024 * 1024 - 21) + b'"}'
    assert len(largest) == 1024 * 1024
    assert (await post(server, largest)).status_code == 200
    assert (await post(server, largest + b" ")).status_code == 413
    read = []

    async def endless():
        while True:
            read.append(None)
            yield b" " * 65536

    answer = await server.ask("owner", "POST", "/api/groups", content=endless())
    assert answer.status_code == 413
    assert len(read) < 20


async def test_a_name_has_an_end(server):
    for path, body in (
        ("/api/groups", {"name": "x" * 256}),
        ("/api/setup-keys", {"name": "x" * 256, "type": "reusable"}),
        ("/api/policies", {"name": "x" * 256, "rules": [{}]}),
        (f"/api/users/{server.state.account.created_by}/tokens", {"name": "x" * 256, "expires_in": 1}),
    ):
        answer = await server.ask("owner", "POST", path, json=body)
        assert answer.status_code == 422
        assert "can't be longer than 255 characters" in answer.json()["message"]


requests = sorted({endpoint.request for endpoint in ENDPOINTS if endpoint.request}, key=lambda kind: kind.__name__)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(
    ["name", "rules", "peers", "expires_in", "settings", "enabled", "PORTS", "sourceresource", "id"]
)


@pytest.mark.parametrize("request_class", requests, ids=lambda kind: kind.__name__)
def test_a_body_becomes_a_request_or_is_unreadable(request_class):
    @given(
        st.binary(max_size=60) | st.dictionaries(names, anything).map(lambda document: json.dumps(document).encode())
    )
    def parses(body):
        try:
            parsed = api_json.parse(body, request_class)
        except api_json.UnreadableRequest:
            return
        assert isinstance(parsed, request_class)

    parses()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.fixed_dictionaries({"name": st.text(max_size=3), "rules": st.lists(st.dictionaries(names, anything))})
)
def test_a_policys_rules_are_of_the_right_types(document):
    try:
        parsed = api_json.parse(json.dumps(document).encode(), PolicyRequest)
    except api_json.UnreadableRequest:
        return
    for rule in parsed.rules or ():
        assert isinstance(rule.name, str)
        assert isinstance(rule.enabled, bool)
