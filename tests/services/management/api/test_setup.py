"""The first set-up happens once."""

import anyio
import httpx
import pytest

from meshloom_management.api.application import application
from meshloom_management.api.config import ApiConfig

pytestmark = pytest.mark.anyio

OWNER = {"email": "owner@example.test", "password": "Passw0rd!x", "name": "Olga Owner"}


async def test_of_many_set_ups_at_once_one_succeeds(empty_server):
    answers = []

    async def set_up(number):
        body = {**OWNER, "email": f"owner{number}@example.test", "create_pat": True}
        answers.append(await empty_server.client.post("/api/setup", json=body))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(set_up, number)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    (made,) = [answer.json() for answer in answers if answer.status_code == 200]
    (account,) = empty_server.accounts.all().values()
    assert [user.email for user in account.users.values()] == [made["email"]]
    refused = [answer.json() for answer in answers if answer.status_code == 412]
    assert all(answer == {"message": "setup already completed", "code": 412} for answer in refused)


async def test_setup_is_required_until_it_is_done(empty_server):
    assert (await empty_server.client.get("/api/instance")).json() == {"setup_required": True}
    await empty_server.set_up()
    assert (await empty_server.client.get("/api/instance")).json() == {"setup_required": False}


async def test_the_token_of_the_set_up_is_good_for_a_day_unless_told(empty_server):
    made = (await empty_server.client.post("/api/setup", json={**OWNER, "create_pat": True})).json()
    (token,) = empty_server.state.tokens.values()
    assert (token.name, (token.expires_at - token.created_at).days) == ("setup-token", 1)
    headers = {"Authorization": f"Token {made['personal_access_token']}"}
    assert (await empty_server.client.get("/api/users/current", headers=headers)).json()["role"] == "owner"


async def test_without_permission_no_token_is_made(empty_server):
    app = application(empty_server.accounts, ApiConfig(hash_memory=64))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server.test") as client:
        made = await client.post("/api/setup", json={**OWNER, "create_pat": True, "pat_expire_in": 999})
    assert made.status_code == 200
    assert set(made.json()) == {"user_id", "email"}
    assert not empty_server.state.tokens


async def test_the_password_is_kept_as_an_argon2id_hash(empty_server):
    await empty_server.set_up()
    (owner,) = empty_server.state.users.values()
    assert owner.password_hash.startswith("$argon2id$")
    assert OWNER["password"] not in repr(empty_server.state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"email": ""}, "email is required"),
        ({"name": ""}, "name is required"),
        ({"password": ""}, "password is required"),
        ({"email": "nonsense"}, "invalid email format"),
        ({"email": "a b@example.test"}, "invalid email format"),
        ({"email": "a@b@example.test"}, "invalid email format"),
        ({"email": f"{'x' * 250}@example.test"}, "email can't be longer than 255 characters"),
        ({"name": "x" * 256}, "name can't be longer than 255 characters"),
        ({"password": "1234567"}, "password must be at least 8 characters"),
        ({"password": "x" * 73}, "password must be at most 72 characters"),
        ({"create_pat": True, "pat_expire_in": 0}, "pat_expire_in must be between 1 and 365"),
        ({"create_pat": True, "pat_expire_in": 366}, "pat_expire_in must be between 1 and 365"),
    ],
)
async def test_a_bad_set_up_is_refused_and_makes_nothing(empty_server, change, message):
    answer = await empty_server.client.post("/api/setup", json={**OWNER, **change})
    assert (answer.status_code, answer.json()) == (422, {"message": message, "code": 422})
    assert not empty_server.accounts.all()


async def test_names_may_be_of_any_script(empty_server):
    name = "Ólga Övner 名前 😀"
    await empty_server.client.post("/api/setup", json={**OWNER, "name": name})
    assert [user.name for user in empty_server.state.users.values()] == [name]
