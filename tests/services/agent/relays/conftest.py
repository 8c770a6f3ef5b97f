"""Agents' connections to relays on a network in memory, in a time that only passes while nothing else happens."""

import asyncio
import selectors
from contextlib import ExitStack

import anyio
import pytest
from prometheus_client import CollectorRegistry

from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import packet_head, relay_peer_id
from meshloom.protocol.relay_token import issue_named_token, issue_token, join_token
from meshloom.testing.fakes.transport import MemoryRelays, MemoryTransport
from meshloom.testing.transport_ground import until
from meshloom_agent.mesh import RelayPlan, RelayUse, place_of
from meshloom_agent.relays import NamedTransport, RelayLinks, RelayTokens
from meshloom_relay.limits import RelayLimits
from meshloom_relay.service import Relay

SECRET = "a secret"
NOW = 1_800_000_000.0


class Hurried(selectors.DefaultSelector):
    """Waits for nothing: where no socket is ready, the time until the next timer has passed."""

    passed = 0.0

    def select(self, timeout=None):
        if timeout is None:
            return super().select()
        ready = super().select(0)
        if not ready:
            self.passed += max(timeout, 0)
        return ready


class HurriedLoop(asyncio.SelectorEventLoop):
    """Its clock stands still but for the waiting."""

    def __init__(self):
        self._hurried = Hurried()
        super().__init__(self._hurried)

    def time(self):
        return 1000.0 + self._hurried.passed


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": HurriedLoop}


def key(number):
    return PublicKey.of(number.to_bytes(32))


def token(secret=SECRET, expires=NOW + 86400):
    return join_token(*issue_token(secret, int(expires)))


def named(number, expires=NOW + 86400):
    return join_token(*issue_named_token(SECRET, int(expires), "account", relay_peer_id(key(number))))


class Agent:
    """The connections of one agent, and what came by them."""

    def __init__(self, number, transports, shown):
        self.key, self.token = key(number), shown
        self.named, self.places = b"", frozenset()
        self.further = ["rel://near:80", "rel://far:80"]
        self.plan = RelayPlan()
        self.news, self.packets = [], []
        self.links = RelayLinks(
            self.plan,
            self.key,
            transports,
            tokens=lambda: RelayTokens(self.token, self.named, self.places),
            packets=lambda peer, payload: self.packets.append((self.links.key_of(peer), bytes(payload))),
            changed=self.settle,
        )

    async def run(self):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.links.run)
            while True:
                due = self.plan.deadline()
                self.woken = anyio.Event()
                with anyio.move_on_after(None if due is None else due - anyio.current_time()):
                    await self.woken.wait()
                self.plan.handle_timer(anyio.current_time())
                self.settle()

    def settle(self):
        self.news += self.plan.news()
        self.links.settle()
        if self.plan.changed:
            self.plan.changed = False
            self.woken.set()

    def set_servers(self, *urls):
        self.plan.set_servers(urls, anyio.current_time(), self.further)
        self.settle()

    def want(self, *uses):
        """Have paths open: the other agent, and the relay."""
        wanted = {other.key: RelayUse(url) for other, url in uses}
        self.plan.set_wanted(wanted, anyio.current_time())
        self.settle()

    def take_named(self, token, *urls):
        """Management hands out a token with this agent's name, for those relays."""
        self.named, self.places = token, frozenset(map(place_of, urls))
        self.links.tokens_changed()

    @property
    def home(self):
        return self.plan.home.url if self.plan.home is not None else None

    @property
    def lost(self):
        """Why paths were lost, of all that were."""
        return [each.lost for each in self.news if each.lost is not None]

    def reaches(self, other):
        return self.plan.link_of(other.key) is not None

    def send(self, other, payload):
        session = self.links.session(self.plan.link_of(other.key))
        return session is not None and session.connection.send(packet_head(self.links.id_of(other.key)), payload)


class World:
    """Relays at addresses in memory, and agents."""

    def __init__(self, tasks):
        self.network = MemoryRelays()
        self.relays, self.registries = {}, {}
        self._served, self._tasks = {}, tasks
        self.now, self.refuses = NOW, False

    def start(self, name, *, secrets=(SECRET,), at=None, **limits):
        """A relay (again); *at* is its address where that is not its name."""
        self.registries[name] = CollectorRegistry()
        relay = self.relays[name] = Relay(
            f"rel://{name}:80",
            secrets,
            RelayLimits(**limits),
            self.registries[name],
            monotonic=anyio.current_time,
            now=lambda: self.now,
        )
        stack = self._served[name] = ExitStack()
        stack.enter_context(
            self.network.serve((at or name, 80), lambda made: None if self.refuses else relay.accept(made))
        )
        return f"rel://{name}:80"

    def kill(self, name):
        """Its connections are gone with it."""
        self._served.pop(name).close()

    async def until(self, condition, within):
        """As the other one, in so many seconds."""
        with anyio.fail_after(within):
            while not condition():
                await anyio.sleep(0.1)

    async def later(self, seconds):
        """Time passes, in no time; the relays look after their peers."""
        until = anyio.current_time() + seconds
        while anyio.current_time() < until:
            await anyio.sleep(min(1.0, seconds))
            for relay in self.relays.values():
                relay.tick(anyio.current_time())

    def ended(self, name, reason):
        return self.registries[name].get_sample_value("meshloom_relay_ended_total", {"reason": reason}) or 0

    def agent(self, number, *, transports=None, shown=None):
        memory = [NamedTransport("memory", MemoryTransport(self.network))]
        made = Agent(number, memory if transports is None else transports, token() if shown is None else shown)
        made.woken = anyio.Event()
        self._tasks.start_soon(made.run)
        return made

    async def pair(self, *urls):
        """Two agents with the same home that reach each other."""
        one, two = self.agent(1), self.agent(2)
        for each in (one, two):
            each.set_servers(*urls)
        await until(lambda: one.home and two.home)
        one.want((two, one.home))
        two.want((one, one.home))
        await until(lambda: one.reaches(two) and two.reaches(one))
        return one, two

    async def talk(self, one, two):
        """A packet each way arrives."""
        before = len(one.packets), len(two.packets)
        assert one.send(two, b"there")
        assert two.send(one, b"back")
        await until(lambda: two.packets[before[1] :] == [(one.key, b"there")])
        await until(lambda: one.packets[before[0] :] == [(two.key, b"back")])


@pytest.fixture
async def world(anyio_backend):
    async with anyio.create_task_group() as tasks:
        made = World(tasks)
        yield made
        tasks.cancel_scope.cancel()
        for name in list(made._served):
            made.kill(name)


@pytest.fixture
def shown():
    """Makes the token that an agent shows."""
    return token


@pytest.fixture
def shown_named():
    """Makes the token with an agent's name that it shows."""
    return named
