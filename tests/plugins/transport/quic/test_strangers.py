"""What the other side of a QUIC connection makes this one keep or do, on the connection itself."""

import ssl
import tracemalloc

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

from meshloom.transport import LONGEST_OF_STRANGER
from meshloom_transport_quic import Options
from meshloom_transport_quic.certificates import Shown
from meshloom_transport_quic.library import ACKNOWLEDGEMENTS, CLIENTS_CRYPTO, Quic
from meshloom_transport_quic.link import STRANGERS_BURST, STRANGERS_PACKET

CLIENT, SERVER = ("127.0.0.1", 1), ("127.0.0.1", 2)
SHOWN = Shown(None, Options().idle)


class Hostile:
    """A client that packs whatever frames it likes, and the server that it is connected to; no socket, no clock."""

    def __init__(self, *, connect=True):
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["nb-quic"], server_name="x", max_datagram_frame_size=9000
        )
        configuration.verify_mode = ssl.CERT_NONE
        self.now = 0.0
        self.client = QuicConnection(configuration=configuration)
        self.client.connect(SERVER, self.now)
        first = self.client.datagrams_to_send(self.now)
        self.server = Quic(SHOWN.current(), original=self.client.original_destination_connection_id)
        for datagram, _ in first if connect else ():
            self.server.receive_datagram(datagram, CLIENT, self.now)
        for _ in range(6 if connect else 0):
            self.exchange()

    def exchange(self):
        self.now += 0.05
        for datagram, _ in self.server.datagrams_to_send(self.now):
            self.client.receive_datagram(datagram, SERVER, self.now)
        for datagram, _ in self.client.datagrams_to_send(self.now):
            self.server.receive_datagram(datagram, CLIENT, self.now)

    def say(self, *frames, kind=QuicPacketType.ONE_RTT, epoch=Epoch.ONE_RTT, size=1200):
        """One packet of these frames, each a type and its bytes."""
        client = self.client
        builder = QuicPacketBuilder(
            host_cid=client.host_cid,
            is_client=True,
            max_datagram_size=size,
            packet_number=client._packet_number,
            peer_cid=client._peer_cid.cid,
            version=client._version,
        )
        builder.start_packet(kind, client._cryptos_initial[1] if epoch is Epoch.INITIAL else client._cryptos[epoch])
        for frame_type, content in frames:
            builder.start_frame(frame_type).push_bytes(content)
        datagrams, _ = builder.flush()
        client._packet_number = builder.packet_number
        for datagram in datagrams:
            self.server.receive_datagram(datagram, CLIENT, self.now)


STREAMS = {
    "data": (0x08, b""),
    "reset": (QuicFrameType.RESET_STREAM, b"\0\0"),
    "stop": (QuicFrameType.STOP_SENDING, b"\0"),
    "blocked": (QuicFrameType.STREAM_DATA_BLOCKED, b"\0"),
}


@pytest.mark.parametrize("stream", [0, 2, 4 * 100], ids=["both ways", "one way", "the hundredth"])
@pytest.mark.parametrize("frame", STREAMS)
def test_a_stream_is_refused_before_anything_is_kept_of_it(frame, stream):
    kind, rest = STREAMS[frame]
    hostile = Hostile()
    assert hostile.server.ended is None
    number = bytes([stream]) if stream < 64 else (stream | 0x4000).to_bytes(2, "big")
    hostile.say((kind, number + rest))
    assert hostile.server.ended.error_code in (QuicErrorCode.STREAM_LIMIT_ERROR, QuicErrorCode.STREAM_STATE_ERROR)
    assert not hostile.server._streams


@pytest.mark.parametrize("is_in_order", [True, False])
def test_tls_without_end_ends_the_connection_before_it_is_kept(is_in_order):
    hostile = Hostile(connect=False)
    hello = b"\x01\xff\xff\xff" + bytes(1000)  # a message of TLS that says that it is of 16 MB
    offset, sent = 0, 0
    while hostile.server.ended is None and sent < 1 << 20:
        content = hello if not offset else bytes(1004)
        at = offset if is_in_order or not offset else offset + 1004
        head = (at | 0x80000000).to_bytes(4, "big") + (len(content) | 0x4000).to_bytes(2, "big")
        hostile.say((QuicFrameType.CRYPTO, head + content), kind=QuicPacketType.INITIAL, epoch=Epoch.INITIAL)
        offset += len(content)
        sent += len(content)
    assert hostile.server.ended.error_code == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
    assert sent <= CLIENTS_CRYPTO + 2008


def test_who_acknowledges_nothing_makes_nothing_grow():
    hostile = Hostile()
    space = hostile.server._spaces[Epoch.ONE_RTT]
    for _ in range(8 * ACKNOWLEDGEMENTS):
        hostile.say((QuicFrameType.PING, b""))
        hostile.now += 0.03
        hostile.server.datagrams_to_send(hostile.now)
        hostile.server.handle_timer(hostile.now)
        hostile.server.forget_acknowledgements()
    assert hostile.server.ended is None
    assert len(space.sent_packets) <= 2 * ACKNOWLEDGEMENTS + 100


@pytest.mark.parametrize(
    "frame",
    [
        (QuicFrameType.PING, b""),
        (QuicFrameType.PATH_CHALLENGE, b"12345678"),
        (QuicFrameType.MAX_DATA, b"\x3f"),
        (QuicFrameType.RETIRE_CONNECTION_ID, b"\x01"),
        (0x16, b"\0"),
    ],
    ids=["pings", "path challenges", "more room", "retired identifiers", "blocked"],
)
def test_a_flood_of_frames_that_are_answered_makes_nothing_grow(frame):
    hostile = Hostile()
    each = (frame,) * 80
    hostile.say(*each)
    tracemalloc.start()
    try:
        for _ in range(3):
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(150):
                hostile.say(*each)
                hostile.now += 0.01
                hostile.server.datagrams_to_send(hostile.now)
                hostile.server.handle_timer(hostile.now)
                hostile.server.happened.clear()
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


def test_identifiers_without_end_end_the_connection_or_are_retired():
    hostile = Hostile()
    for number in range(1, 63):
        token = bytes([number]) * 16
        identifier = bytes([number, 0, 8]) + bytes([number]) * 8
        hostile.say((QuicFrameType.NEW_CONNECTION_ID, identifier + token))
        if hostile.server.ended is not None:
            break
    assert hostile.server.ended.error_code == QuicErrorCode.CONNECTION_ID_LIMIT_ERROR


@pytest.mark.anyio
async def test_packets_of_a_stranger_are_looked_at_up_to_a_rate_and_a_peers_all(ends, quic, server):
    server.admit = False
    connection = await quic.connect(server.address(), ends.Heard())
    await ends.until(lambda: server.receivers)
    link = server.receivers[0].connection
    looked_at = []
    link.quic.receive_datagram = lambda data, address, now: looked_at.append(len(data))
    to_link = bytes([0x40]) + link.quic.host_cid
    for _ in range(10 * STRANGERS_BURST):
        link._endpoint._received(to_link + bytes(100), ("127.0.0.1", 1), 0.0)
    assert len(looked_at) <= STRANGERS_BURST
    link.admit()
    looked_at.clear()
    for _ in range(10 * STRANGERS_BURST):
        link._endpoint._received(to_link + bytes(STRANGERS_PACKET + 1), ("127.0.0.1", 1), 0.0)
    assert len(looked_at) == 10 * STRANGERS_BURST
    del link.quic.receive_datagram
    connection.close()


@pytest.mark.anyio
async def test_a_large_packet_of_a_stranger_is_not_looked_at(ends, quic, server):
    server.admit = False
    await quic.connect(server.address(), ends.Heard())
    await ends.until(lambda: server.receivers)
    link = server.receivers[0].connection
    looked_at = []
    link.quic.receive_datagram = lambda data, address, now: looked_at.append(len(data))
    to_link = bytes([0x40]) + link.quic.host_cid
    link._endpoint._received(to_link + bytes(STRANGERS_PACKET), ("127.0.0.1", 1), link._endpoint.loop.time())
    assert looked_at == []
    del link.quic.receive_datagram


@pytest.mark.anyio
async def test_little_waits_for_a_stranger_and_a_long_message_closes_it(ends, quic, server):
    server.admit = False
    heard = ends.Heard()
    connection = await quic.connect(server.address(), heard)
    await ends.until(lambda: server.receivers)
    link = server.receivers[0].connection
    assert [link.send(b"x") for _ in range(20)].count(True) == 8
    assert connection.send(bytes(LONGEST_OF_STRANGER + 1))
    await ends.until(lambda: heard.lost and server.receivers[0].lost)
    assert server.receivers[0].messages == []
