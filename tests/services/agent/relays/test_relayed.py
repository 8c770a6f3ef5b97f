"""One peer's packets to a relay: what is sent, what is lost, and who is told of what is too long."""

import pytest

from meshloom.protocol.relay import packet_head, relay_peer_id
from meshloom.testing.fakes.transport import ROOM, MemoryRelays, MemoryTransport
from meshloom.testing.fakes.tunnel import MemoryDevice, MemoryNetwork, MemoryTunnel
from meshloom.testing.transport_ground import Heard, until
from meshloom.transport import RelayAddress
from meshloom_agent.relays import RelayedPath

pytestmark = pytest.mark.anyio

PLACE = ("relay.test", 80)


class Relayed:
    """A path, its connection, and what the relay hears by it."""

    def __init__(self, peer):
        self.peer, self.heard, self.told = relay_peer_id(peer), Heard(), []
        self.network = MemoryRelays({PLACE: self.accept})
        tunnel = MemoryTunnel(MemoryNetwork(), MemoryDevice("test0", ("127.0.0.1",)))
        self.path = RelayedPath(tunnel, self.peer, self.told.append)

    def accept(self, connection):
        connection.admit()
        return self.heard

    async def connect(self):
        self.path.connection = await MemoryTransport(self.network).connect(RelayAddress(*PLACE, tls=False), Heard())


@pytest.fixture
async def relayed(world):
    made = Relayed(world.agent(2).key)
    await made.connect()
    return made


async def test_a_packet_goes_with_the_peers_head_in_front(relayed):
    relayed.path.send_packet(b"first")
    relayed.path.send(memoryview(packet_head(relayed.peer) + b"second"))
    await until(lambda: len(relayed.heard.messages) == 2)
    assert relayed.heard.messages == [packet_head(relayed.peer) + each for each in (b"first", b"second")]
    assert relayed.told == []


async def test_what_is_too_long_is_told_at_once_with_its_size(relayed):
    relayed.path.connection.max_message_size = 1200
    relayed.path.send_packet(bytes(1312))
    relayed.path.send_packet(bytes(1162))
    assert relayed.told == [1350]
    await until(lambda: relayed.heard.messages)


async def test_what_is_lost_for_want_of_room_is_not_too_long(relayed):
    for _ in range(ROOM + 10):
        relayed.path.send_packet(bytes(1312))
    assert relayed.told == []
    await until(lambda: len(relayed.heard.messages) == ROOM)


async def test_without_a_connection_packets_are_lost_in_silence(relayed):
    relayed.path.connection.close()
    relayed.path.send_packet(b"closed")
    relayed.path.close()
    relayed.path.send_packet(b"none")
    assert relayed.told == []
    assert relayed.heard.messages == []
