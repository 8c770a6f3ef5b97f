"""The first set-up happens once, and where it is not open, only for who shows the secret."""

import anyio
import httpx
import pytest

from meshloom.errors import ConfigError
from meshloom_management.api.application import application
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.failures import Allowances, Failures
from meshloom_management.operations import setup
from meshloom_management.operations.setup_secret import FILE, kept_secret

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


# -- who may -----------------------------------------------------------------------------------------------------


HEADER = "X-Meshloom-Setup-Secret"
FOUND = "the server prints it at its start, and keeps it in setup.secret in its data folder"


@pytest.fixture
def secret(tmp_path):
    return kept_secret(tmp_path, needed=True)


@pytest.fixture
async def guarded(empty_server, secret):
    """The client of a server whose first set-up needs the secret."""
    config = ApiConfig(setup_secret=secret, url="https://mesh.example.test", hash_memory=64)
    failures = Failures(allowances=Allowances(burst=3))
    transport = httpx.ASGITransport(application(empty_server.accounts, config, empty_server.clock, failures))
    async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
        yield client


@pytest.mark.parametrize(("given", "what"), [(None, "missing"), ("", "missing"), ("x", "wrong"), ("\u00fc", "wrong")])
async def test_without_the_secret_nobody_owns_the_server(guarded, empty_server, monkeypatch, given, what):
    def hash_it(*_):
        raise AssertionError("a stranger's password is not worth the work")

    monkeypatch.setattr(setup.PasswordHasher, "hash", hash_it)
    headers = {} if given is None else {HEADER: given.encode("latin-1")}
    answer = await guarded.post("/api/setup", json=OWNER, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"message": f"{HEADER} is {what}: {FOUND}", "code": 401})
    assert not empty_server.accounts.all()


async def test_a_stranger_s_body_is_not_even_read(guarded):
    async def body():
        raise AssertionError("it was read")
        yield b""

    headers = {"Content-Type": "application/json"}
    assert (await guarded.post("/api/setup", content=body(), headers=headers)).status_code == 401


async def test_the_secret_is_good_once_and_gives_a_token(guarded, empty_server, secret, tmp_path):
    headers = {HEADER: secret.reveal()}
    made = await guarded.post("/api/setup", json={**OWNER, "create_pat": True}, headers=headers)
    assert made.json()["personal_access_token"].startswith("nbp_")
    assert not (tmp_path / FILE).exists()
    for more in (headers, {}):
        again = await guarded.post("/api/setup", json=OWNER, headers=more)
        assert (again.status_code, again.json()["message"]) == (412, "setup already completed")
    assert len(empty_server.accounts.all()) == 1


@pytest.mark.parametrize("who", ["the secret", "nobody", "anybody"])
@pytest.mark.parametrize("change", [{}, {"pat_expire_in": 0}, {"pat_expire_in": 366}, {"password": "short"}])
async def test_a_set_up_that_asks_for_a_token_gives_it_or_changes_nothing(guarded, empty_server, secret, who, change):
    asked = empty_server.client if who == "anybody" else guarded
    headers = {HEADER: secret.reveal()} if who == "the secret" else {}
    answer = await asked.post("/api/setup", json={**OWNER, "create_pat": True, **change}, headers=headers)
    if answer.status_code == 200:
        assert answer.json()["personal_access_token"].startswith("nbp_")
        assert len(empty_server.state.tokens) == 1
    else:
        assert not empty_server.accounts.all()


async def test_a_set_up_that_is_refused_leaves_the_secret_good(guarded, secret, tmp_path):
    headers = {HEADER: secret.reveal()}
    assert (await guarded.post("/api/setup", json={**OWNER, "email": ""}, headers=headers)).status_code == 422
    assert (tmp_path / FILE).exists()
    assert (await guarded.post("/api/setup", json=OWNER, headers=headers)).status_code == 200


async def test_who_guesses_the_secret_is_slowed_and_who_has_it_is_not(guarded, secret):
    guesses = [await guarded.post("/api/setup", json=OWNER, headers={HEADER: f"guess{n}"}) for n in range(5)]
    assert [answer.status_code for answer in guesses] == [401, 401, 401, 429, 429]
    assert (await guarded.post("/api/setup", json=OWNER, headers={HEADER: secret.reveal()})).status_code == 200


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "https://mesh.example.test:8443", "file://", "http://["]
)
async def test_a_page_of_another_origin_cannot_set_it_up(guarded, empty_server, secret, is_open, origin):
    asked = empty_server.client if is_open else guarded
    headers = {"Origin": origin, HEADER: secret.reveal()}
    answer = await asked.post("/api/setup", json=OWNER, headers=headers)
    assert answer.status_code == 403
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": HEADER, "Origin": origin}
    answers = [answer, await asked.options("/api/setup", headers=preflight)]
    assert not [name for each in answers for name in each.headers if name.startswith("access-control")]
    assert not empty_server.accounts.all()


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://mesh.example.test", "127.0.0.1:8080"),
        ("https://Mesh.Example.Test", "server.test"),
        ("http://192.0.2.1", "192.0.2.1"),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
    ],
)
async def test_a_page_of_the_server_itself_can(guarded, secret, origin, host):
    headers = {"Origin": origin, "Host": host, HEADER: secret.reveal()}
    answer = await guarded.post("/api/setup", json=OWNER, headers=headers)
    assert answer.status_code == 200, answer.text
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_name_that_is_made_to_lead_here_is_not_the_server_s_own(guarded, secret):
    headers = {"Origin": "http://evil.test", "Host": "evil.test", HEADER: secret.reveal()}
    assert (await guarded.post("/api/setup", json=OWNER, headers=headers)).status_code == 403


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
async def test_only_json_sets_it_up(empty_server, type):
    body = httpx.Request("POST", "http://x", json=OWNER).content
    answer = await empty_server.client.post("/api/setup", content=body, headers={"Content-Type": type})
    assert (answer.status_code, answer.json()["message"]) == (415, "the Content-Type must be application/json")
    assert not empty_server.accounts.all()


async def test_json_may_name_its_character_set(empty_server):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await empty_server.client.post("/api/setup", json=OWNER, headers=headers)).status_code == 200


async def test_a_set_up_is_of_a_few_kilobytes(empty_server):
    body = {**OWNER, "pad": "x" * 16 * 1024}
    assert (await empty_server.client.post("/api/setup", json=body)).status_code == 413


# -- the file ----------------------------------------------------------------------------------------------------


def test_the_secret_stays_the_same_over_restarts_and_is_the_server_s_alone(tmp_path):
    first = kept_secret(tmp_path, needed=True)
    assert kept_secret(tmp_path, needed=True).reveal() == first.reveal()
    assert len(first.reveal()) == 32
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert first.reveal() not in repr(first)


def test_a_secret_that_a_crash_left_behind_goes_at_the_next_start(tmp_path):
    kept_secret(tmp_path, needed=True)
    assert kept_secret(tmp_path, needed=False) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigError, match=r"setup\.secret: cannot be used"):
        kept_secret(tmp_path, needed=True)
