"""Accounts in memory, with one account, a clock that tests set, and keys to enrol with."""

import uuid
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

import attrs
import pytest

from meshloom.memory_store import meshloom_stores
from meshloom.model.peer import PeerMeta
from meshloom.model.state import ENTITIES
from meshloom.store import StoreContext
from meshloom.testing import samples
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.operations import enrolment, setup_keys

NETWORKS = NewAccounts(IPv4Network("100.72.0.0/16"), IPv6Network("fd12:3456::/64"))
KEY = setup_keys.Wish(
    name="key",
    type="reusable",
    expires_in=86400,
    auto_groups=(),
    usage_limit=0,
    ephemeral=False,
    allow_extra_dns_labels=False,
)


@attrs.define
class TestClock:
    now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self):
        return self.now

    def pass_time(self, **span):
        self.now += timedelta(**span)


@attrs.define
class OneAccount:
    """An account, and how machines join it."""

    accounts: Accounts
    id: str
    key: str = ""

    @property
    def state(self):
        return self.accounts.state(self.id)

    async def change(self, mutate):
        return await self.accounts.change(self.id, mutate)

    async def put(self, *entities):
        await self.change(lambda draft: [draft.put(entity) for entity in entities])

    async def make_key(self, **wish):
        text = str(uuid.uuid4()).upper()
        await self.change(lambda draft: setup_keys.create(draft, attrs.evolve(KEY, **wish), text))
        return text

    def login(self, name, *, key="", hostname=None, version="0.77.1", **more):
        meta = PeerMeta(hostname=name if hostname is None else hostname, agent_version=version, capabilities={1, 2})
        return enrolment.Login(key=samples.public_key(name), meta=meta, setup_key=key, ssh_key="ssh-ed25519 A", **more)

    async def enrol(self, name, *, key=None, **more):
        _, peer = await enrolment.login(self.accounts, self.login(name, key=key or self.key, **more))
        return peer

    def peer(self, id):
        return self.state.peers[id]


@pytest.fixture
def clock():
    return TestClock()


@pytest.fixture
async def store(tmp_path):
    (backend,) = meshloom_stores()
    async with backend.open(backend.options(), StoreContext(tmp_path, ENTITIES)) as opened:
        yield opened


@pytest.fixture
async def accounts(store, clock):
    async with Accounts.open(store, clock=clock, new=NETWORKS) as opened:
        yield opened


async def begin(accounts):
    owner = await accounts.create(email="owner@example.test", name="Owner", password_hash="")
    made = OneAccount(accounts, owner.account_id)
    made.key = await made.make_key()
    return made


@pytest.fixture
def begin_account():
    """Makes an account with a key, where a test opens the accounts itself."""
    return begin


@pytest.fixture
async def account(accounts):
    return await begin(accounts)
