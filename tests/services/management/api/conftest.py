"""A server without gRPC: accounts in memory, the API in front, one user of each role with a token."""

import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import anyio
import attrs
import httpx
import pytest

from meshloom.memory_store import meshloom_stores
from meshloom.model.ids import UserID
from meshloom.model.state import ENTITIES
from meshloom.model.user import PersonalAccessToken, Role, User
from meshloom.store import StoreContext
from meshloom.testing.schemas import misfits
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.api.application import application
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.endpoints import description
from meshloom_management.api.failures import Allowances, Failures
from meshloom_management.operations import tokens

NETWORKS = NewAccounts(IPv4Network("100.72.0.0/16"), IPv6Network("fdff:fe2b:8f11:b34d::/64"))
OWNER = {"email": "owner@example.test", "password": "Passw0rd!x", "name": "Olga Owner"}


@attrs.define
class Clock:
    """A clock that tests set."""

    now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Gate:
    """A store that tests can close for a while: what is written then waits."""

    def __init__(self, store):
        self._store = store
        self._open = anyio.Event()
        self._open.set()
        self.waiting = anyio.Event()

    @asynccontextmanager
    async def transaction(self):
        self.waiting.set()
        await self._open.wait()
        async with self._store.transaction() as transaction:
            yield transaction

    def close(self):
        self._open, self.waiting = anyio.Event(), anyio.Event()

    def open(self):
        self._open.set()


@attrs.define
class Server:
    """The API under test, and what is behind it."""

    accounts: Accounts
    client: httpx.AsyncClient
    clock: Clock
    store: Gate
    tokens: dict[str, str] = attrs.field(factory=dict)

    @property
    def state(self):
        (state,) = self.accounts.all().values()
        return state

    @property
    def account(self):
        return self.state.account.id

    async def change(self, mutate):
        return await self.accounts.change(self.account, mutate)

    async def put(self, *entities):
        await self.change(lambda draft: [draft.put(entity) for entity in entities])

    async def set_up(self):
        answer = await self.client.post("/api/setup", json={**OWNER, "create_pat": True, "pat_expire_in": 365})
        assert answer.status_code == 200, answer.text
        self.tokens["owner"] = answer.json()["personal_access_token"]
        return answer.json()

    async def add_user(self, name, role, *, machine=False, id=None, shown=None, **more):
        """A user with a token, known to ``as_`` by the name."""
        secret = self.tokens[name] = tokens.new_token()

        def add(draft):
            user = User(
                id=UserID(id or draft.new_id()),
                account_id=draft.state.account.id,
                role=role,
                email="" if machine else f"{name}@example.test",
                name=shown or name,
                is_service_user=machine,
                created_at=draft.now,
                **more,
            )
            draft.put(user)
            tokens.create(draft, user.id, by=user.id, name=f"t-{name}", days=365, token=secret)
            return user

        return await self.change(add)

    def user(self, name):
        """The user whom :meth:`add_user` made by that name."""
        return next(user for user in self.state.users.values() if user.name == name)

    async def take_token(self, who):
        """Take a user's tokens away, behind the API's back."""
        theirs = [token.id for token in self.state.tokens.values() if token.user_id == self.user(who).id]
        await self.change(lambda draft: [draft.delete(PersonalAccessToken, id) for id in theirs])

    async def add_expired(self):
        """A token of the owner that was good until now, known as ``expired``."""
        secret = self.tokens["expired"] = tokens.new_token()
        owner = self.state.account.created_by

        def add(draft):
            made = tokens.create(draft, owner, by=owner, name="exp", days=1, token=secret)
            draft.put(attrs.evolve(made, expires_at=draft.now))

        await self.change(add)

    async def ask(self, who, method, path, **more):
        """A request with the token of somebody, or without one."""
        headers = {"Authorization": f"Token {self.tokens[who]}"} if who is not None else {}
        return await self.client.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)


@pytest.fixture
async def empty_server(tmp_path: Path):
    """Before the first set-up."""
    (backend,) = meshloom_stores()
    clock = Clock()
    async with (
        backend.open(backend.options(), StoreContext(tmp_path, ENTITIES)) as opened,
        Accounts.open(store := Gate(opened), clock=clock, new=NETWORKS) as accounts,
    ):
        servers = {"203.0.113.9": "this server", "localhost": "signal", "nowhere.invalid": "relays"}
        config = ApiConfig(setup_secret=None, url="http://server.test", hash_memory=64, servers=servers)
        app = application(accounts, config, clock, Failures(allowances=Allowances(burst=10_000)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
            yield Server(accounts, client, clock, store)


@pytest.fixture
async def server(empty_server):
    """After it, with one user of each role, as a person and as a machine."""
    await empty_server.set_up()
    for role in Role:
        if role is not Role.OWNER:
            await empty_server.add_user(role.value, role)
            await empty_server.add_user(f"svc-{role.value}", role, machine=True)
    return empty_server


@pytest.fixture
def misfit():
    """Says what of an answer's body is not as the description of the API has it."""
    described = description()

    def found(method, path, answer):
        for template, methods in described["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) and method.lower() in methods:
                answers = methods[method.lower()]["responses"]
                said = answers.get(str(answer.status_code), answers["default"])
                schema = said["content"]["application/json"]["schema"]
                return "; ".join(misfits(answer.json(), schema, described["components"]["schemas"], path))
        return ""

    return found
