"""Network maps of one account, in one process without gRPC: built and sealed for every connected peer."""

import gc
import itertools
import secrets
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path
from tempfile import mkdtemp

import anyio
import attrs

from meshloom.memory_store import meshloom_stores
from meshloom.model.group import Group
from meshloom.model.keys import PrivateKey
from meshloom.model.peer import PeerMeta
from meshloom.model.policy import Policy, Protocol, Rule
from meshloom.model.state import ENTITIES
from meshloom.protocol.seal import Box
from meshloom.store import StoreContext
from meshloom.testing import samples
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.operations import enrolment, setup_keys
from meshloom_management.updates import Updates

SIZES = (100, 300, 1000, 5000)
ADDRESSES = ServiceAddresses("mesh.example:443", stun=("stun:mesh.example:3478",))


def resident() -> int:
    """Bytes of this process that are in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


@attrs.define
class Mesh:
    """Connected peers that may all reach each other."""

    accounts: Accounts
    updates: Updates
    key: str
    streams: list = attrs.field(factory=list)
    enrolled: int = 0

    @property
    def state(self):
        (state,) = self.accounts.all().values()
        return state

    async def enrol(self):
        meta = PeerMeta(hostname=f"machine-{self.enrolled}", agent_version="0.77.1", capabilities=frozenset({1, 2}))
        public = samples.public_key(str(self.enrolled))
        request = enrolment.Login(key=public, meta=meta, setup_key=self.key, ssh_key="ssh-ed25519 " + "A" * 68)
        _, peer = await enrolment.login(self.accounts, request)
        self.enrolled += 1
        return peer

    def sent(self, box):
        """Let everybody take what there is, sealed; how many updates, and their bytes."""
        count = size = 0
        for stream in self.streams:
            if stream.has_news and (body := stream.take()) is not None:
                count, size = count + 1, size + len(box.seal(body))
        return count, size


@asynccontextmanager
async def mesh(peers):
    (backend,) = meshloom_stores()
    context = StoreContext(Path(mkdtemp()), ENTITIES)
    new = NewAccounts(IPv4Network("100.64.0.0/16"))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(backend.open(backend.options(), context))
        accounts = await stack.enter_async_context(Accounts.open(store, new=new))
        owner = await accounts.create(email="o@example.test", name="O", password_hash="")
        wish = setup_keys.Wish(
            name="k",
            type="reusable",
            expires_in=86400,
            auto_groups=(),
            usage_limit=0,
            ephemeral=False,
            allow_extra_dns_labels=False,
        )
        text = str(uuid.uuid4()).upper()
        await accounts.change(owner.account_id, lambda draft: setup_keys.create(draft, wish, text))
        made = Mesh(
            accounts, Updates(accounts, ADDRESSES, "mesh.example", monotonic=itertools.count(0, 1000).__next__), text
        )
        for _ in range(peers):
            await made.enrol()
        yield made, stack


async def measure(count):
    """The rows of one size."""
    box = Box(PrivateKey.of(secrets.token_bytes(32)), samples.public_key("0"), secrets.token_bytes)
    started = time.process_time()
    async with mesh(count) as (made, stack):
        yield (
            f"{count} peers enrolled, one after the other",
            (time.process_time() - started) / count * 1e3,
            "CPU-ms each",
            "",
        )
        gc.collect()
        before, started = resident(), time.process_time()
        for peer in made.state.peers.values():
            stream = await stack.enter_async_context(made.updates.connected(made.state.account.id, peer.id))
            made.streams.append(stream)
        sent, size = made.sent(box)
        yield f"first maps of {count} peers, built and sealed", time.process_time() - started, "CPU-s", ""
        gc.collect()
        yield f"memory at rest, {count} streams", (resident() - before) / count / 1e6, "MB each", "0.2"

        account = made.state.account.id
        (policy,) = made.state.policies.values()

        async def change(*entities):
            gc.collect()
            most, started = resident(), time.process_time()
            await made.accounts.change(account, lambda draft: [draft.put(entity) for entity in entities])
            sent, size = made.sent(box)
            return time.process_time() - started, sent, size, (resident() - most) / 1e6

        rule = attrs.evolve(policy.rules[0], protocol=Protocol.TCP, ports=("80",))
        spent, sent, size, grown = await change(attrs.evolve(policy, rules=(rule,)))
        goal = "1.5 (with gRPC)" if count == 1000 else ""
        yield f"policy change, {sent} of {count} peers told, {size / sent / 1e3:.0f} kB each", spent, "CPU-s", goal
        yield f"memory growth by it, {count} peers", grown, "MB", "100" if count == 1000 else ""
        started = time.process_time()
        await made.enrol()
        sent, _ = made.sent(box)
        yield f"one more peer, {sent} of {count} peers told", time.process_time() - started, "CPU-s", goal
        few = [peer.id for peer in list(made.state.peers.values())[:2]]
        group = Group(id="few", account_id=account, name="few", peers=frozenset(few))
        both = Rule("few", "few", protocol=Protocol.UDP, sources=frozenset({"few"}), destinations=frozenset({"few"}))
        added = Policy(id="few", account_id=account, name="few", rules=(both,))
        spent, sent, *_ = await change(group, added)
        goal = "20" if count == 1000 else ""
        yield f"policy change that concerns two, {sent} of {count} peers told", spent * 1e3, "CPU-ms", goal


def rows():
    """All sizes, one after the other."""

    async def collect(count):
        return [row async for row in measure(count)]

    for count in SIZES:
        yield from anyio.run(collect, count)
