"""Callers who want more than is theirs: from the description every path is tried by those who may not."""

import itertools

import anyio
import attrs
import pytest

from meshloom.model.ids import UserID
from meshloom.model.user import PersonalAccessToken, Role, User
from meshloom.testing import samples
from meshloom_management.api.endpoints import description
from meshloom_management.operations import tokens

pytestmark = pytest.mark.anyio

DESCRIPTION = description()
OPERATIONS = [
    (method.upper(), path, about) for path, methods in DESCRIPTION["paths"].items() for method, about in methods.items()
]
PRIVATE = [(method, path) for method, path, about in OPERATIONS if about.get("security")]
WRITES = [(method, path) for method, path in PRIVATE if method != "GET"]
WITH_ID = [(method, path) for method, path in PRIVATE if "{" in path]
PUBLIC = {("GET", "/api/instance"), ("POST", "/api/setup"), ("GET", "/api/openapi.json")}
THINGS = {"setup-keys": "key", "peers": "peer", "groups": "group", "policies": "policy"}
SCALARS = {"string": "taken-over", "integer": 1, "number": 1, "boolean": True}


def example(schema):
    """A value of that schema."""
    if "$ref" in schema:
        return example(DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return example(choices[0])
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if kind == "object":
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema["items"])]
    return schema["enum"][0] if "enum" in schema else SCALARS[kind]


def body_of(method, path):
    about = DESCRIPTION["paths"][path][method.lower()]
    content = about.get("requestBody", {}).get("content", {})
    return next((example(each["schema"]) for each in content.values()), None)


def parts_of(state):
    """All that a stranger could have changed; that a token was used is none of it."""
    return {
        field.name: (
            {id: attrs.evolve(token, last_used=None) for id, token in state.tokens.items()}
            if field.name == "tokens"
            else getattr(state, field.name)
        )
        for field in attrs.fields(type(state))
        if field.init
    }


@pytest.fixture
async def furnished(server):
    """One of each thing."""
    account = {"account_id": server.account}
    things = samples.setup_key(**account), samples.group(**account), samples.peer(**account), samples.policy(**account)
    await server.put(*things)
    return server


def path_for(path, state, user):
    token = next((each.id for each in state.tokens.values() if each.user_id == user), "none")
    thing = THINGS.get(path.split("/")[2])
    return path.format(user=user, token=token, id=thing or state.account.id)


def test_only_what_must_be_is_public():
    assert {(method, path) for method, path, about in OPERATIONS if not about.get("security")} == PUBLIC


@pytest.mark.parametrize(("method", "path"), PRIVATE, ids=lambda part: part)
async def test_without_a_token_nothing_is_shown_or_done(furnished, method, path):
    before = parts_of(furnished.state)
    for owner in (furnished.state.account.created_by, "nobody"):
        answer = await furnished.ask(None, method, path_for(path, furnished.state, owner), json=body_of(method, path))
        assert (answer.status_code, answer.json()["message"]) == (401, "no valid authentication provided")
    assert parts_of(furnished.state) == before


@pytest.mark.parametrize(("method", "path"), WRITES, ids=lambda part: part)
@pytest.mark.parametrize("who", ["user", "auditor", "billing_admin", "svc-user", "svc-auditor", "svc-billing_admin"])
async def test_who_may_not_write_changes_nothing(furnished, who, method, path):
    body = body_of(method, path)
    assert body is not None or method == "DELETE"
    for owner in (furnished.state.account.created_by, user_named(furnished, "admin")):
        before = parts_of(furnished.state)
        answer = await furnished.ask(who, method, path_for(path, furnished.state, owner), json=body)
        assert answer.status_code == 403, answer.text
        assert parts_of(furnished.state) == before


def user_named(server, name):
    return next(user.id for user in server.state.users.values() if user.name == name)


@pytest.fixture
async def stranger(furnished):
    """The owner of another account on the same server."""
    secret = furnished.tokens["stranger"] = tokens.new_token()
    home = furnished.account

    def begin(draft, user):
        tokens.create(draft, user.id, by=user.id, name="t", days=1, token=secret)

    made = await furnished.accounts.create(email="s@example.test", name="Stranger", password_hash="", then=begin)
    return furnished, home, made


@pytest.mark.parametrize(("method", "path"), WITH_ID, ids=lambda part: part)
async def test_the_owner_of_another_account_reaches_nothing_here(stranger, method, path):
    server, home, _ = stranger
    state = server.accounts.state(home)
    for owner in (state.account.created_by, next(user for user in state.users if user != state.account.created_by)):
        before = parts_of(server.accounts.state(home))
        answer = await server.ask("stranger", method, path_for(path, state, owner), json=body_of(method, path))
        assert answer.status_code in (400, 403, 404, 422) or answer.json() == [], (answer.status_code, answer.text)
        assert parts_of(server.accounts.state(home)) == before
        for secret in ("peer", "policy"):
            assert f'"{secret}"' not in answer.text or answer.status_code >= 400


@pytest.mark.parametrize(
    ("method", "path"), [("GET", path) for method, path in PRIVATE if method == "GET" and "{" not in path]
)
async def test_the_owner_of_another_account_sees_only_his_own(stranger, method, path):
    server, home, made = stranger
    answer = await server.ask("stranger", method, path)
    assert answer.status_code == 200
    here = server.accounts.state(home)
    known = {*here.users, *here.groups, *here.policies, *here.setup_keys, *here.tokens, home} - {"peer", "group", "key"}
    assert not [id for id in known if f'"{id}"' in answer.text and id != "policy"]
    assert str(made.account_id) != str(home)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/setup-keys", {"name": "k", "type": "one-off", "expires_in": 86400, "usage_limit": 1}),
        ("POST", "/api/groups", {"name": "g", "peers": []}),
        ("PUT", "/api/groups/group", {"name": "g", "peers": []}),
        ("PUT", "/api/peers/peer", {"name": "p", "ssh_enabled": False}),
        ("PUT", "/api/setup-keys/key", {"revoked": False, "auto_groups": []}),
        ("POST", "/api/users/{owner}/tokens", {"name": "t", "expires_in": 1}),
    ],
)
async def test_what_a_request_does_not_have_is_not_set(furnished, method, path, body):
    owner = furnished.state.account.created_by
    more = {
        "id": "chosen",
        "account_id": "another",
        "hashed": "chosen",
        "key": "chosen",
        "plain_token": "chosen",
        "used_times": -5,
        "user_id": "chosen",
        "created_by": "chosen",
        "created_at": "2000-01-01T00:00:00Z",
        "last_used": "2000-01-01T00:00:00Z",
        "connected": True,
        "role": "owner",
        "issued": "jwt",
        "valid": True,
    }
    answer = await furnished.ask("owner", method, path.format(owner=owner), json={**more, **body})
    assert answer.status_code == 200, answer.text
    state = furnished.state
    assert "chosen" not in answer.text
    assert "chosen" not in repr(state)
    assert "another" not in repr(state)
    assert not any(key.used_times < 0 for key in state.setup_keys.values())
    assert not any(peer.connected for peer in state.peers.values())


# -- many at once ------------------------------------------------------------------------------------------------


async def at_once(number, ask):
    answers = []

    async def one(count):
        answers.append((await ask(count)).status_code)

    async with anyio.create_task_group() as tasks:
        for count in range(number):
            tasks.start_soon(one, count)
    return sorted(answers)


async def test_of_many_who_delete_a_token_one_does(furnished):
    owner = furnished.state.account.created_by
    made = await furnished.ask("owner", "POST", f"/api/users/{owner}/tokens", json={"name": "x", "expires_in": 1})
    path = f"/api/users/{owner}/tokens/{made.json()['personal_access_token']['id']}"
    assert await at_once(10, lambda _: furnished.ask("owner", "DELETE", path)) == [200] + [404] * 9


@pytest.mark.parametrize("path", ["/api/groups/group", "/api/policies/policy", "/api/setup-keys/key"])
async def test_of_many_who_delete_a_thing_one_does(furnished, path):
    if "group" in path:
        await furnished.ask("owner", "DELETE", "/api/policies/policy")
    answers = await at_once(10, lambda _: furnished.ask("owner", "DELETE", path))
    assert answers[0] == 200
    assert set(answers[1:]) == {400 if "group" in path else 404}, "as the recordings have it"


async def test_a_token_that_deletes_itself_many_times_is_gone_once(furnished):
    (token,) = [each for each in furnished.state.tokens.values() if each.name == "t-svc-admin"]
    path = f"/api/users/{token.user_id}/tokens/{token.id}"
    answers = await at_once(10, lambda _: furnished.ask("svc-admin", "DELETE", path))
    assert answers.count(200) == 1
    assert set(answers) <= {200, 401, 404}
    assert token.id not in furnished.state.tokens


async def test_changes_at_once_of_one_thing_leave_one_of_them_whole(furnished):
    names = [f"name{number}" for number in range(10)]

    def rename(number):
        return furnished.ask("owner", "PUT", "/api/groups/group", json={"name": names[number], "peers": []})

    await at_once(10, rename)
    assert furnished.state.groups["group"].name in names


# -- tokens ------------------------------------------------------------------------------------------------------


async def test_only_the_whole_token_is_one(server):
    good = server.tokens["owner"]
    assert (await authorised(server, f"Token {good}")).status_code == 200
    for cut in range(len(good)):
        assert (await authorised(server, f"Token {good[:cut]}")).status_code == 401
    wrong = [
        good.upper(),
        good.lower(),
        good[::-1],
        good[1:],
        good + "x",
        f"{good},{good}",
        f"{good} {good}",
        f'"{good}"',
        good[4:],
        f"nbp_{good}",
        tokens.hash_of(good),
        "null",
        "undefined",
        "*",
        "%",
    ]
    for text, scheme in itertools.product(wrong, ("Token", "Bearer")):
        assert (await authorised(server, f"{scheme} {text}")).status_code == 401, text
    for header in (good, f"Basic {good}", f"Tokens {good}", f"Token:{good}", f"Digest {good}", f"token={good}"):
        assert (await authorised(server, header)).status_code == 401, header


async def authorised(server, header):
    return await server.client.get("/api/groups", headers={"Authorization": header})


async def test_a_token_ends_with_its_user_whatever_the_order(server):
    user = UserID(user_named(server, "svc-admin"))
    theirs = [token.id for token in server.state.tokens.values() if token.user_id == user]
    gone = [*((PersonalAccessToken, id) for id in theirs), (User, user)]
    await server.change(lambda draft: [draft.delete(*each) for each in gone])
    assert (await server.ask("svc-admin", "GET", "/api/groups")).status_code == 401
    await server.add_user("svc-again", Role.ADMIN, machine=True, id=user)
    assert (await server.ask("svc-admin", "GET", "/api/groups")).status_code == 401, "an old token is of nobody new"


async def test_what_a_role_loses_its_tokens_lose_at_once(server):
    user = server.state.users[user_named(server, "svc-admin")]
    assert (await server.ask("svc-admin", "POST", "/api/groups", json={"name": "a"})).status_code == 200
    await server.put(attrs.evolve(user, role=Role.AUDITOR))
    assert (await server.ask("svc-admin", "POST", "/api/groups", json={"name": "b"})).status_code == 403
    assert [group.name for group in server.state.groups.values() if group.name in "ab"] == ["a"]


async def test_who_forwards_cannot_say_who_he_is(server):
    headers = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "X-Forwarded-User": "owner", "X-Role": "owner"}
    assert (await server.ask(None, "GET", "/api/groups", headers=headers)).status_code == 401
    assert (await server.ask("user", "GET", "/api/groups", headers=headers)).status_code == 403
