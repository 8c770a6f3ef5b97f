"""A relay in memory, and peers of it."""

import time
from contextlib import ExitStack
from types import SimpleNamespace

import anyio.lowlevel
import pytest
from prometheus_client import CollectorRegistry

from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import packet_head, relay_peer_id
from meshloom.protocol.relay_client import RelayClient, RelayLost
from meshloom.protocol.relay_token import issue_named_token, issue_token, join_token
from meshloom.testing.fakes.transport import MemoryRelays, MemoryTransport
from meshloom.testing.transport_ground import until
from meshloom.transport import Receiver, RelayAddress
from meshloom_relay.limits import RelayLimits
from meshloom_relay.service import Relay

SECRETS = ("new secret", "old secret")
URL = "rel://relay.test:80"
EXPIRES = 2_000_000_000


def peer_id(number):
    return relay_peer_id(PublicKey.of(number.to_bytes(32)))


def token(secret=SECRETS[0], expires=EXPIRES):
    return join_token(*issue_token(secret, expires))


def named(number, secret=SECRETS[0], expires=EXPIRES, account="account"):
    return join_token(*issue_named_token(secret, expires, account, peer_id(number)))


class Peer(Receiver):
    """A peer as an agent is one, on any transport."""

    def __init__(self, number, shown=None):
        self.id = peer_id(number)
        self.client = RelayClient(self.id, shown or token(), time.monotonic())
        self.packets, self.events, self.lost = [], [], []
        self.connection = None
        self.is_dead = False

    def message_received(self, message):
        if self.is_dead:
            return
        if (source := self.client.packet_source(message)) is not None:
            self.packets.append((source, bytes(message[38:])))
            return
        self.client.receive_message(message, time.monotonic())
        self.act()

    def connection_lost(self, reason):
        self.lost.append(reason)
        self.client.connection_lost(reason, time.monotonic())
        self.events += self.client.events()

    def act(self):
        for message in self.client.messages_to_send():
            self.connection.send(message)
        self.events += self.client.events()

    def open(self, *others):
        self.client.open([other.id for other in others], time.monotonic())
        self.act()

    def close(self, *others):
        self.client.close([other.id for other in others], time.monotonic())
        self.act()

    def send(self, other, payload):
        return self.connection.send(packet_head(other.id), payload)

    @property
    def is_lost(self):
        return any(isinstance(event, RelayLost) for event in self.events)


class World:
    """A relay at an address in memory."""

    def __init__(self):
        self.network = MemoryRelays()
        self.transport = MemoryTransport(self.network)
        self.clock, self.now = 1000.0, 1_800_000_000.0
        self.place = ("relay.test", 80)
        self.address = RelayAddress(*self.place, tls=False)
        self.relay = None
        self.refusals = {}
        self.stack = ExitStack()

    def start(self, **limits):
        self.registry = CollectorRegistry()
        self.relay = Relay(
            URL,
            SECRETS,
            RelayLimits(**limits),
            self.registry,
            refusal=lambda peer, _: self.refusals.get(peer, ""),
            monotonic=lambda: self.clock,
            now=lambda: self.now,
        )
        self.stack.enter_context(self.network.serve(self.place, self.relay.accept))
        return self.relay

    def stop(self):
        self.stack.close()

    async def connect(self, number, shown=None):
        peer = Peer(number, shown)
        peer.connection = await self.transport.connect(self.address, peer)
        peer.act()
        return peer

    async def join(self, number, shown=None):
        peer = await self.connect(number, shown)
        await until(lambda: peer.events)
        return peer

    async def tick(self, seconds=0.0):
        """Time passes, and everybody does what is to be done then."""
        self.clock += seconds
        self.relay.tick(self.clock)
        await self.settle()

    async def settle(self):
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

    def metric(self, name, **labels):
        return self.registry.get_sample_value(f"meshloom_relay_{name}", labels) or 0


@pytest.fixture
async def world(anyio_backend):
    made = World()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def ends():
    return SimpleNamespace(
        Peer=Peer, token=token, named=named, peer_id=peer_id, SECRETS=SECRETS, URL=URL, EXPIRES=EXPIRES
    )
