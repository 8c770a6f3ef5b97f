"""Who may ask at all, and what is answered who may not."""

from datetime import timedelta

import attrs
import httpx
import pytest

from meshloom.errors import StoreUnavailable
from meshloom.model.user import PersonalAccessToken, User
from meshloom_management.api.application import application
from meshloom_management.api.config import ApiConfig, setup_is_open

pytestmark = pytest.mark.anyio

NONE = {"message": "no valid authentication provided", "code": 401}
INVALID = {"message": "token invalid", "code": 401}


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, NONE),
        ("", NONE),
        ("Basic b3duZXI6eA==", NONE),
        ("nbp_withoutscheme", NONE),
        ("Token", INVALID),
        ("Token ", INVALID),
        ("Token abc", INVALID),
        ("Bearer x", INVALID),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", INVALID),
        ("Token nbp_000000000000000000000000000000000000", INVALID),
    ],
)
async def test_without_a_good_token_the_answer_is_401(server, header, answer):
    headers = {} if header is None else {"Authorization": header}
    given = await server.client.get("/api/groups", headers=headers)
    assert (given.status_code, given.json()) == (401, answer)


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN", "Bearer", "bearer"])
async def test_the_scheme_is_token_or_bearer_in_any_case(server, scheme):
    headers = {"Authorization": f"{scheme} {server.tokens['owner']}"}
    assert (await server.client.get("/api/groups", headers=headers)).status_code == 200


async def test_a_token_in_the_query_is_not_looked_at(server):
    given = await server.client.get("/api/groups", params={"token": server.tokens["owner"]})
    assert (given.status_code, given.json()) == (401, NONE)


async def test_a_token_ends_at_its_moment(server):
    server.clock.now += timedelta(days=365) - timedelta(microseconds=1)
    assert (await server.ask("owner", "GET", "/api/groups")).status_code == 200
    server.clock.now += timedelta(microseconds=1)
    given = await server.ask("owner", "GET", "/api/groups")
    assert (given.status_code, given.json()) == (401, INVALID)


async def test_a_deleted_token_is_answered_401_at_once(server):
    (token,) = [t for t in server.state.tokens.values() if t.name == "t-svc-admin"]
    path = f"/api/users/{token.user_id}/tokens/{token.id}"
    assert (await server.ask("owner", "DELETE", path)).json() == {}
    given = await server.ask("svc-admin", "GET", "/api/groups")
    assert (given.status_code, given.json()) == (401, INVALID)


async def test_the_tokens_of_a_deleted_user_are_gone(server):
    (user,) = [user for user in server.state.users.values() if user.name == "svc-admin"]
    await server.change(lambda draft: [draft.delete(PersonalAccessToken, t.id) for t in tokens_of(draft.state, user)])
    await server.change(lambda draft: draft.delete(User, user.id))
    assert (await server.ask("svc-admin", "GET", "/api/groups")).status_code == 401


def tokens_of(state, user):
    return [token for token in state.tokens.values() if token.user_id == user.id]


async def test_a_blocked_user_is_told_so(server):
    (user,) = [user for user in server.state.users.values() if user.name == "admin"]
    await server.put(attrs.evolve(user, is_blocked=True))
    given = await server.ask("admin", "GET", "/api/groups")
    assert (given.status_code, given.json()) == (403, {"message": "user is blocked", "code": 403})


async def test_the_last_use_of_a_token_is_noted_to_the_minute(server):
    owner = server.state.account.created_by
    path = f"/api/users/{owner}/tokens"
    first = (await server.ask("owner", "GET", path)).json()[0]["last_used"]
    assert first == "2026-11-24T12:00:00.000000Z"
    serial = server.state.account.serial
    server.clock.now += timedelta(seconds=59)
    assert (await server.ask("owner", "GET", path)).json()[0]["last_used"] == first
    server.clock.now += timedelta(seconds=1)
    assert (await server.ask("owner", "GET", path)).json()[0]["last_used"] == "2026-11-24T12:01:00.000000Z"
    assert server.state.account.serial == serial  # no peer is told of it


async def test_a_new_token_works_and_only_its_hash_is_kept(server):
    owner = server.state.account.created_by
    made = await server.ask("owner", "POST", f"/api/users/{owner}/tokens", json={"name": "ci", "expires_in": 1})
    secret = made.json()["plain_token"]
    assert made.headers["cache-control"] == "no-store"
    assert len(secret) == 40
    assert secret.startswith("nbp_")
    given = await server.client.get("/api/users/current", headers={"Authorization": f"Bearer {secret}"})
    assert given.json()["id"] == owner
    assert secret not in repr(server.state)


@pytest.mark.parametrize(
    ("environment", "enabled"),
    [
        ({}, False),
        ({"NB_SETUP_PAT_ENABLED": "true"}, True),
        ({"MESHLOOM_SETUP_PAT_ENABLED": "1"}, True),
        ({"MESHLOOM_SETUP_PAT_ENABLED": "false"}, False),
        ({"MESHLOOM_SETUP_PAT_ENABLED": ""}, False),
    ],
)
def test_the_environment_opens_the_first_set_up(environment, enabled):
    assert setup_is_open(environment) is enabled


async def test_while_nothing_can_be_stored_the_api_still_answers_reads(server, monkeypatch):
    async def full(_account, _mutate):
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(server.accounts, "change", full)
    server.clock.now += timedelta(minutes=2)
    assert (await server.ask("owner", "GET", "/api/groups")).status_code == 200
    made = await server.ask("owner", "POST", "/api/groups", json={"name": "g"})
    message = "the server cannot store anything now: the disk is full"
    assert (made.status_code, made.json()) == (503, {"message": message, "code": 503})


async def test_the_connection_of_a_good_token_alone_is_proven(server):
    app = application(server.accounts, ApiConfig(setup_secret=None), server.clock)
    proven = []

    async def carried(scope, receive, send):
        await app({**scope, "extensions": {"meshloom.prove": lambda: proven.append(scope["path"])}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(carried), base_url="http://server.test") as client:
        await client.get("/api/groups", headers={"Authorization": f"Token {server.tokens['owner']}"})
        assert proven == ["/api/groups"]
        await server.put(attrs.evolve(server.user("admin"), is_blocked=True))
        for header in ("", "Token x", f"Token {server.tokens['admin']}"):
            await client.get("/api/groups", headers={"Authorization": header})
        await client.get("/api/instance")
        await client.post("/api/setup", json={})
    assert proven == ["/api/groups"]
