"""One session on one relay, from the token to the last word."""

import os

import anyio
import pytest

from meshloom.protocol.relay import (
    FROM_PEERS,
    HEALTH_CHECK,
    Auth,
    AuthResponse,
    Close,
    Kind,
    PeerList,
    decode,
    encode,
    packet_head,
    relay_peer_id,
)
from meshloom.testing.fakes.transport import MemoryRelays, MemoryTransport
from meshloom.testing.transport_ground import Heard, until
from meshloom.transport import RelayAddress
from meshloom_agent.mesh import HomeRelay
from meshloom_agent.relays.session import Session

pytestmark = pytest.mark.anyio

URL = "rel://relay.test:80"
HEAD = 38


class Relay:
    """The other end, led by a test."""

    def __init__(self):
        self.heard, self.connection = Heard(), None

    def accept(self, connection):
        self.connection = connection
        return self.heard

    def says(self, *messages):
        for message in messages:
            self.connection.send(message if isinstance(message, bytes) else encode(message))

    @property
    def told(self):
        return [decode(message, FROM_PEERS) for message in self.heard.messages]


class Ends:
    """A session, the relay's end, and what the session told."""

    def __init__(self, key):
        self.relay, self.packets, self.changes = Relay(), [], []
        self.id, self.other = relay_peer_id(key(1)), relay_peer_id(key(2))
        self.session = Session(
            lambda peer, payload: self.packets.append((peer, bytes(payload))),
            lambda peer, online: self.changes.append((peer, online)),
        )

    async def connect(self, address=("192.0.2.1", 80)):
        network = MemoryRelays({address: self.relay.accept})
        where = RelayAddress("relay.test", 80, tls=False, ip=address[0])
        connection = await MemoryTransport(network).connect(where, self.session)
        self.session.begin(connection, self.id, b"a token")
        await until(lambda: self.relay.heard.messages)


@pytest.fixture
async def ends(shown, world):
    made = Ends(lambda number: world.agent(number).key)
    await made.connect()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.session.run)
        yield made
        tasks.cancel_scope.cancel()


@pytest.fixture
async def accepted(ends):
    ends.relay.says(AuthResponse(URL))
    await until(lambda: ends.session.home)
    ends.relay.heard.messages.clear()
    return ends


async def test_it_says_who_it_is_and_is_at_home_when_it_is_accepted(ends):
    assert ends.relay.told == [Auth(ends.id, b"a token")]
    assert ends.session.home is None
    ends.relay.says(AuthResponse(URL))
    await until(lambda: ends.session.home)
    assert ends.session.home == HomeRelay(URL, bytes((192, 0, 2, 1)))  # the hint that others are told
    assert not ends.session.over.is_set()


async def test_nothing_is_asked_before_it_is_accepted(ends):
    ends.session.ask([ends.other])
    ends.relay.says(AuthResponse(URL))
    await until(lambda: ends.session.home)
    assert ends.relay.told == [Auth(ends.id, b"a token")]


@pytest.mark.parametrize(
    "answer", [b"", b"\1", b"\1\5", b"\2\7rel://x:80", b"\1\7", b"\1\7\xff", b"\1\4", b"\1\x0a123"]
)
async def test_any_other_answer_ends_it(ends, answer):
    ends.relay.says(answer)
    await until(ends.session.over.is_set)
    assert ends.session.home is None
    assert ends.session.lost


async def test_no_answer_ends_it(ends, world):
    await world.later(7)
    assert not ends.session.over.is_set()
    await world.later(2)
    assert ends.session.lost == "no answer to the token from the relay in time"


async def test_a_connection_that_is_refused_after_the_token_ends_it(ends):
    ends.relay.connection.close()
    await until(ends.session.over.is_set)
    assert ends.session.lost == "closed by the other side"


async def test_peers_come_and_go_and_are_no_longer_watched(accepted):
    accepted.session.ask([accepted.other])
    accepted.relay.says(PeerList(Kind.ONLINE, (accepted.other,)))
    await until(lambda: accepted.changes == [(accepted.other, True)])
    accepted.relay.says(PeerList(Kind.OFFLINE, (accepted.other,)))
    await until(lambda: accepted.changes == [(accepted.other, True), (accepted.other, False)])
    await until(lambda: len(accepted.relay.told) == 2)
    assert accepted.relay.told == [
        PeerList(Kind.SUBSCRIBE, (accepted.other,)),
        PeerList(Kind.UNSUBSCRIBE, (accepted.other,)),
    ]


async def test_packets_are_those_of_peers_that_were_asked_for(accepted, world):
    stranger = relay_peer_id(world.agent(3).key)
    accepted.session.ask([accepted.other])
    accepted.relay.says(
        packet_head(stranger) + b"unasked", PeerList(Kind.ONLINE, (accepted.other,)), packet_head(accepted.other) + b"1"
    )
    await until(lambda: accepted.packets)
    assert accepted.packets == [(accepted.other, b"1")]


async def test_a_first_packet_that_came_before_its_peer_is_not_lost(accepted):
    accepted.relay.says(packet_head(accepted.other) + b"first")
    accepted.session.ask([accepted.other])
    accepted.relay.says(PeerList(Kind.ONLINE, (accepted.other,)), packet_head(accepted.other) + b"second")
    await until(lambda: len(accepted.packets) == 2)
    assert accepted.packets == [(accepted.other, b"first"), (accepted.other, b"second")]


async def test_health_checks_are_answered_and_their_absence_ends_it(accepted, world):
    for _ in range(5):
        await world.later(25)
        accepted.relay.says(HEALTH_CHECK)
    await until(lambda: accepted.relay.heard.messages == [HEALTH_CHECK] * 5)
    await world.later(36)
    assert accepted.session.lost == "no health check from the relay in time"


async def test_garbage_changes_nothing(accepted):
    for size in range(200):
        accepted.relay.says(os.urandom(size), b"\1" + os.urandom(size), packet_head(accepted.other)[:size])
        await anyio.lowlevel.checkpoint()
    accepted.session.ask([accepted.other])
    accepted.relay.says(PeerList(Kind.ONLINE, (accepted.other,)))
    await until(lambda: (accepted.other, True) in accepted.changes or accepted.session.lost)
    assert accepted.session.lost in ("", "the relay said that it closes")  # a random byte may be just that


async def test_a_farewell_is_said(accepted):
    accepted.session.end()
    await until(lambda: accepted.relay.heard.lost)
    assert accepted.relay.told == [Close()]
    assert accepted.session.lost == "left"
