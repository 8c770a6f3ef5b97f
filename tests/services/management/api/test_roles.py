"""Every role at every endpoint: who may, and what the others are told."""

import pytest

from meshloom.model.user import Role
from meshloom.testing import samples
from meshloom_management.api.endpoints import ENDPOINTS
from meshloom_management.api.permissions import covers, permissions_of

pytestmark = pytest.mark.anyio

DENIED = "permission denied"
BILLING = "failed to validate user permissions: user role: billing_admin not found"

READ_ALL = {"owner", "admin", "network_admin", "auditor", "svc-admin", "svc-network_admin", "svc-auditor", "svc-user"}
ADMINS = {"owner", "admin", "svc-admin"}
NETWORK = {*ADMINS, "network_admin", "svc-network_admin"}
PEOPLE = {"owner", "admin", "network_admin", "auditor", "user", "billing_admin"}
EVERYBODY = {name for role in Role if role is not Role.OWNER for name in (role.value, f"svc-{role.value}")} | {"owner"}

MAY = {
    ("GET", "/api/users"): READ_ALL | {"user"},
    ("GET", "/api/users/current"): PEOPLE,
    ("GET", "/api/users/{user}/tokens"): READ_ALL,
    ("POST", "/api/users/{user}/tokens"): NETWORK,
    ("GET", "/api/users/{user}/tokens/{token}"): READ_ALL,
    ("DELETE", "/api/users/{user}/tokens/{token}"): NETWORK,
    ("GET", "/api/setup-keys"): READ_ALL,
    ("POST", "/api/setup-keys"): ADMINS,
    ("GET", "/api/setup-keys/{id}"): READ_ALL,
    ("PUT", "/api/setup-keys/{id}"): ADMINS,
    ("DELETE", "/api/setup-keys/{id}"): ADMINS,
    ("GET", "/api/peers"): READ_ALL | {"user"},
    ("GET", "/api/peers/{id}"): READ_ALL,
    ("PUT", "/api/peers/{id}"): ADMINS,
    ("DELETE", "/api/peers/{id}"): ADMINS,
    ("GET", "/api/peers/{id}/accessible-peers"): READ_ALL | {"user"},
    ("GET", "/api/groups"): READ_ALL,
    ("POST", "/api/groups"): NETWORK,
    ("GET", "/api/groups/{id}"): READ_ALL,
    ("PUT", "/api/groups/{id}"): NETWORK,
    ("DELETE", "/api/groups/{id}"): NETWORK,
    ("GET", "/api/policies"): READ_ALL,
    ("POST", "/api/policies"): NETWORK,
    ("GET", "/api/policies/{id}"): READ_ALL,
    ("PUT", "/api/policies/{id}"): NETWORK,
    ("DELETE", "/api/policies/{id}"): NETWORK,
    ("GET", "/api/accounts"): READ_ALL,
    ("PUT", "/api/accounts/{id}"): ADMINS,
}
THINGS = {"setup-keys": "key", "peers": "peer", "groups": "group", "policies": "policy"}


def test_every_endpoint_is_in_the_table():
    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS if not endpoint.public} == MAY.keys()


@pytest.fixture
async def furnished(server):
    """One of each thing; the tokens in the paths are those of whoever asks."""
    account = {"account_id": server.account}
    policy = samples.policy(**account)
    await server.put(samples.setup_key(**account), samples.group(**account), samples.peer(**account), policy)
    return server


def own(server, who):
    (token,) = [t for t in server.state.tokens.values() if t.name == ("setup-token" if who == "owner" else f"t-{who}")]
    return token


@pytest.mark.parametrize(("method", "path"), MAY, ids=lambda part: part)
@pytest.mark.parametrize("who", sorted(EVERYBODY))
async def test_only_who_may_does(furnished, who, method, path):
    token = own(furnished, who)
    thing = path.split("/")[2]
    values = {"user": token.user_id, "token": token.id, "id": THINGS.get(thing, furnished.account)}
    answer = await furnished.ask(who, method, path.format(**values), json={} if method in {"POST", "PUT"} else None)
    if who in MAY[method, path]:
        assert answer.status_code in {200, 422}, answer.text  # 422: an empty wish, but one that was looked at
    else:
        allowed_nothing = "billing_admin" in who and not path.endswith("current")
        message = BILLING if allowed_nothing else DENIED
        assert (answer.status_code, answer.json()) == (403, {"message": message, "code": 403})


@pytest.mark.parametrize(
    ("who", "whose", "status"),
    [
        ("owner", "admin", 403),
        ("admin", "owner", 403),
        ("svc-admin", "owner", 403),
        ("owner", "svc-user", 200),
        ("admin", "svc-admin", 200),
        ("network_admin", "network_admin", 200),
        ("network_admin", "svc-network_admin", 200),
        ("svc-network_admin", "svc-billing_admin", 200),
    ],
)
async def test_tokens_of_people_are_their_own(furnished, who, whose, status):
    user = own(furnished, whose).user_id
    answer = await furnished.ask(who, "GET", f"/api/users/{user}/tokens")
    assert answer.status_code == status
    made = await furnished.ask(who, "POST", f"/api/users/{user}/tokens", json={"name": "x", "expires_in": 1})
    assert made.status_code == status


async def test_a_users_own_peers_are_shown_him_when_the_account_allows_it(furnished):
    user = own(furnished, "user").user_id
    await furnished.put(samples.peer("mine", account_id=furnished.account, user_id=user))
    assert (await furnished.ask("user", "GET", "/api/peers")).json() == []
    settings = (await furnished.ask("owner", "GET", "/api/accounts")).json()[0]["settings"]
    changed = {"settings": {**settings, "regular_users_view_blocked": False}}
    path = f"/api/accounts/{furnished.account}"
    assert (await furnished.ask("owner", "PUT", path, json=changed)).status_code == 200
    assert [peer["id"] for peer in (await furnished.ask("user", "GET", "/api/peers")).json()] == ["mine"]
    assert (await furnished.ask("user", "GET", "/api/peers/mine")).status_code == 200
    assert (await furnished.ask("user", "GET", "/api/peers/peer")).status_code == 403


EVERY_ROLE = [role.value for role in Role]


@pytest.mark.parametrize("whose", EVERY_ROLE)
@pytest.mark.parametrize("who", ["owner", "admin", "network_admin", "svc-admin", "svc-network_admin"])
async def test_nobody_gives_a_token_that_may_more_than_himself(furnished, who, whose):
    await furnished.add_user("svc-owner", Role.OWNER, machine=True)
    caller, machine = furnished.state.users[own(furnished, who).user_id], furnished.user(f"svc-{whose}")
    mightier = any(
        operations - permissions_of(caller).get(module, frozenset())
        for module, operations in permissions_of(machine).items()
    )
    path = f"/api/users/{machine.id}/tokens"
    made = await furnished.ask(who, "POST", path, json={"name": "x", "expires_in": 1})
    assert made.status_code == (403 if mightier else 200)
    (theirs,) = [t for t in furnished.state.tokens.values() if t.name == f"t-svc-{whose}"]
    if machine.id != caller.id:
        assert (await furnished.ask(who, "DELETE", f"{path}/{theirs.id}")).status_code == made.status_code
    assert (theirs.id in furnished.state.tokens) is (mightier or machine.id == caller.id)


def test_who_is_mightier_than_whom_is_this():
    users = {role: samples.user(role=role) for role in Role}
    below = {role: {other.value for other in Role if covers(users[role], users[other])} for role in Role}
    assert below == {
        Role.OWNER: set(EVERY_ROLE),
        Role.ADMIN: set(EVERY_ROLE) - {"owner"},
        Role.NETWORK_ADMIN: {"network_admin", "user", "billing_admin"},
        Role.AUDITOR: {"auditor", "user", "billing_admin"},
        Role.USER: {"user", "billing_admin"},
        Role.BILLING_ADMIN: {"user", "billing_admin"},
    }
    assert not covers(users[Role.NETWORK_ADMIN], samples.user(role=Role.USER, is_service_user=True))
