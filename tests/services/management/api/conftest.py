"""A server without gRPC: accounts in memory, the API in front, one user of each role with a token."""

from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import attrs
import httpx
import pytest

from meshloom.memory_store import meshloom_stores
from meshloom.model.ids import UserID
from meshloom.model.state import ENTITIES
from meshloom.model.user import Role, User
from meshloom.store import StoreContext
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.api.application import application
from meshloom_management.api.config import ApiConfig
from meshloom_management.operations import tokens

NETWORKS = NewAccounts(IPv4Network("100.72.0.0/16"), IPv6Network("fdff:fe2b:8f11:b34d::/64"))
OWNER = {"email": "owner@example.test", "password": "Passw0rd!x", "name": "Olga Owner"}


@attrs.define
class Clock:
    """A clock that tests set."""

    now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@attrs.define
class Server:
    """The API under test, and what is behind it."""

    accounts: Accounts
    client: httpx.AsyncClient
    clock: Clock
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
        backend.open(backend.options(), StoreContext(tmp_path, ENTITIES)) as store,
        Accounts.open(store, clock=clock, new=NETWORKS) as accounts,
    ):
        app = application(accounts, ApiConfig(setup_tokens=True, hash_memory=64), clock)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
            yield Server(accounts, client, clock)


@pytest.fixture
async def server(empty_server):
    """After it, with one user of each role, as a person and as a machine."""
    await empty_server.set_up()
    for role in Role:
        if role is not Role.OWNER:
            await empty_server.add_user(role.value, role)
            await empty_server.add_user(f"svc-{role.value}", role, machine=True)
    return empty_server
