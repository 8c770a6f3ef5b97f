"""What strangers send to a server's port: nothing is raised and nothing is kept."""

import asyncio
import gc
import os
import random
import socket
import weakref

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom.pace import Pace
from meshloom_transport_quic import Options
from meshloom_transport_quic.certificates import Shown
from meshloom_transport_quic.fairness import WAITING, Source
from meshloom_transport_quic.half_open import BEGUN_BURST, HALF_OPEN, HANDSHAKE, OF_SOURCE, Begun
from meshloom_transport_quic.server import RETRY_FROM, Server
from meshloom_transport_quic.turns import Turns

pytestmark = pytest.mark.anyio

SENDER = ("127.0.0.1", 9)
SHOWN = Shown(None, Options().idle)


class Port:
    """Keeps what a server sends."""

    def __init__(self):
        self.sent = []

    def send(self, data, address):
        self.sent.append((data, address))

    def close(self):
        pass


def refuse_all(connection):
    raise AssertionError("a stranger was accepted")


class Alone:
    """A server that is given datagrams by hand."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.server = Server(self.socket, SHOWN, refuse_all, Options())
        self.cost, self._cpu = 0.0, 0.0
        self.allow(1.0)
        self.server._port.close()
        self.port = self.server._port = Port()

    def allow(self, seconds):
        """So much CPU time for those who are not admitted, of which each turn takes :attr:`cost`."""
        server, pace = self.server, Pace(0.2, seconds, lambda: 0.0)
        server.turns = Turns(server._serve, server._too_late, pace, cpu=self.cpu)

    def cpu(self):
        self._cpu += self.cost
        return self._cpu

    def receive(self, data, address=SENDER):
        self.server._received(data, address, self.server.loop.time())
        self.server._flush()

    def close(self):
        self.server.turns.close()
        for link in list(self.server.links):
            link.abandon()
        if self.server._sweeper is not None:
            self.server._sweeper.cancel()
        self.socket.close()

    @property
    def kept(self):
        server = self.server
        return len(server.links), len(server.half_open), len(server._routes), len(server._identifiers)


@pytest.fixture
async def alone():
    made = Alone()
    yield made
    made.close()


def first_packets(alpn="nb-quic", versions=None, token=b""):
    """A client, and the datagram with which it begins."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[alpn], server_name="x", max_datagram_frame_size=9000, token=token
    )
    if versions:
        configuration.supported_versions = versions
    client = QuicConnection(configuration=configuration)
    client.connect(("127.0.0.1", 1), 0.0)
    return client, client.datagrams_to_send(0.0)[0][0]


async def test_random_datagrams_of_every_size_leave_nothing(alone):
    source = random.Random(7)
    for _ in range(3000):
        alone.receive(source.randbytes(source.choice((0, 1, 5, 21, 60, 1200, 1232, 1500, 9000))))
    assert alone.kept == (0, 0, 0, 0)
    assert all(len(data) <= 1200 for data, _ in alone.port.sent)


@given(st.binary(max_size=64), st.binary(min_size=1, max_size=40))
@settings(deadline=None)
def test_damaged_first_packets_leave_nothing_half_made(noise, patch):
    async def check():
        alone = Alone()
        try:
            _, datagram = first_packets()
            where = len(noise) * 16 % len(datagram)
            alone.receive(noise + datagram)
            alone.receive((datagram[:where] + patch + datagram[where + len(patch) :])[: len(datagram)])
            alone.receive(datagram[: 600 + where % 600])
            for link in alone.server.links:
                assert link.quic.has_begun
        finally:
            alone.close()
        assert alone.kept == (0, 0, 0, 0)

    asyncio.run(check())


async def test_a_packet_that_decrypts_to_nothing_leaves_nothing(alone):
    _, datagram = first_packets()
    alone.receive(datagram[:100] + bytes(16) + datagram[116:])
    assert alone.kept == (0, 0, 0, 0)


async def test_an_unknown_version_is_answered_with_ours(alone):
    _, datagram = first_packets(versions=[0x1A2A3A4A])
    alone.receive(datagram)
    ((answer, address),) = alone.port.sent
    header = pull_quic_header(Buffer(data=answer))
    assert header.packet_type is QuicPacketType.VERSION_NEGOTIATION
    assert 1 in header.supported_versions
    assert (address, alone.kept) == (SENDER, (0, 0, 0, 0))


async def test_version_negotiation_is_not_answered_and_neither_is_a_short_unknown_version(alone):
    _, datagram = first_packets(versions=[0x1A2A3A4A])
    alone.receive(datagram[:1199])
    alone.receive(datagram[:1] + bytes(4) + datagram[5:])
    assert alone.port.sent == []


async def test_another_application_protocol_is_refused(alone):
    client, datagram = first_packets(alpn="h3")
    alone.receive(datagram)
    for data, _ in alone.port.sent:
        client.receive_datagram(data, ("127.0.0.1", 1), 0.0)
    assert client._close_event.error_code == 0x100 + 120


async def test_an_answer_to_an_unproven_address_is_at_most_three_times_what_it_sent(alone):
    _, datagram = first_packets()
    alone.receive(datagram)
    assert 0 < sum(len(data) for data, _ in alone.port.sent) <= 3 * len(datagram)


async def test_from_some_half_open_connections_on_an_address_must_be_proven(alone):
    for number in range(RETRY_FROM):
        alone.receive(first_packets()[1], (f"192.0.2.{number}", 1))
    assert alone.kept[:2] == (RETRY_FROM, RETRY_FROM)
    alone.port.sent.clear()
    client, datagram = first_packets()
    for number in range(200):
        alone.receive(first_packets()[1] if number else datagram, ("127.0.0.1", 5000 + number))
    assert alone.kept[:2] == (RETRY_FROM, RETRY_FROM)
    assert {pull_quic_header(Buffer(data=data)).packet_type for data, _ in alone.port.sent} == {QuicPacketType.RETRY}

    answer, address = alone.port.sent[0]
    client.receive_datagram(answer, ("127.0.0.1", 1), 0.0)
    again = client.datagrams_to_send(0.0)[0][0]
    alone.receive(again, ("10.0.0.1", 4))
    assert alone.kept[0] == RETRY_FROM, "a token was taken from another address"
    alone.receive(again, address)
    assert alone.kept[0] == RETRY_FROM + 1


def proven(alone, address):
    """Begins a connection from an address that was proven by a retry."""
    client, datagram = first_packets()
    alone.port.sent.clear()
    alone.receive(datagram, address)
    client.receive_datagram(alone.port.sent[0][0], ("127.0.0.1", 1), 0.0)
    alone.receive(client.datagrams_to_send(0.0)[0][0], address)


async def test_one_source_shuts_nobody_out_and_its_own_oldest_give_way(alone):
    for number in range(RETRY_FROM):
        alone.receive(first_packets()[1], (f"192.0.2.{number}", 1))
    others = set(alone.server.links)
    for number in range(BEGUN_BURST):
        proven(alone, ("203.0.113.1", 1000 + number))
    assert len(alone.server.half_open) == RETRY_FROM + OF_SOURCE
    assert others < alone.server.links
    proven(alone, ("198.51.100.1", 5))
    assert {link.remote[0] for link in alone.server.links} > {"198.51.100.1"}
    assert others < alone.server.links


async def test_a_source_that_begins_too_many_handshakes_is_not_heard(alone):
    for number in range(RETRY_FROM):
        alone.receive(first_packets()[1], (f"192.0.2.{number}", 1))
    kept = alone.kept
    while alone.server._begun.take(bytes([203, 0, 113, 1]), 0.0):
        pass
    alone.server._begun.take = lambda source, now: Begun.take(alone.server._begun, source, 0.0)
    proven(alone, ("203.0.113.1", 1000))
    assert alone.kept == kept
    proven(alone, ("203.0.113.2", 1000))
    assert alone.kept != kept


def source(number):
    return Source(b"network %d" % number, b"source %d" % number)


async def test_half_open_connections_are_bounded_whoever_proves_an_address(alone):
    for number in range(HALF_OPEN):
        assert alone.server.half_open.add(f"link {number}", source(number), 0.0) is None
    assert alone.server.half_open.add("a new one", source(HALF_OPEN), 0.0) == "link 0"
    assert len(alone.server.half_open) == HALF_OPEN


async def test_where_the_allowance_is_used_up_handshakes_wait_and_addresses_must_be_proven(alone):
    alone.cost = 0.01
    alone.allow(0.005)
    alone.receive(first_packets()[1], ("192.0.2.1", 1))
    assert alone.kept[0] == 1
    for number in range(300):
        alone.receive(first_packets()[1], (f"198.51.100.{number % 256}", 1))
    assert alone.kept[0] == 1
    assert len(alone.server.turns) == 0, "what any address may have sent waits"
    for number in range(2 * WAITING):
        proven(alone, (f"203.0.113.{number}", 1000))
    assert alone.kept[0] == 1
    assert len(alone.server.turns) == WAITING


async def test_timers_of_half_open_connections_wait_where_the_allowance_is_used_up_and_run_out_again(alone):
    alone.receive(first_packets()[1])
    (link,) = alone.server.links
    alone.cost = 2.0
    alone.server.due(link)
    ticks = []
    link.tick = lambda: ticks.append(1)
    link._timer.cancel()
    link._timer = None
    for _ in range(3):
        alone.server.due(link)
    assert (ticks, len(alone.server.turns)) == ([], 1)
    alone.server._too_late(link)
    assert link._timer is not None


async def test_what_a_connection_kept_is_freed_at_its_end(alone):
    gc.disable()
    try:
        alone.receive(first_packets()[1])
        (link,) = alone.server.links
        kept = [weakref.ref(each) for each in (link, link.quic, link.quic.tls)]
        link.abandon()
        del link
        assert [each() for each in kept] == [None] * 3
    finally:
        gc.enable()


async def test_a_handshake_that_does_not_go_on_is_forgotten(alone):
    alone.receive(first_packets()[1])
    assert alone.kept[0] == 1
    alone.server.end_overdue(alone.server.loop.time() + HANDSHAKE)
    assert alone.kept == (0, 0, 0, 0)


async def test_stateless_resets_are_shorter_than_what_they_answer_and_few(alone):
    for _ in range(1000):
        alone.receive(b"\x40" + os.urandom(40))
    assert 0 < len(alone.port.sent) <= 200
    assert {len(data) for data, _ in alone.port.sent} == {40}


async def test_garbage_from_the_server_does_not_end_a_connection(ends, server):
    async with ends.opened() as quic:
        heard = ends.Heard()
        server.answer = bytes
        connection = await quic.connect(server.address(), heard)
        where = connection._endpoint._socket.getsockname()
        source = random.Random(3)
        for _ in range(30):
            server.socket.sendto(source.randbytes(source.choice((1, 21, 40, 1200))), ("127.0.0.1", where[1]))
        connection.send(b"alive")
        await ends.until(lambda: heard.messages == [b"alive"])


async def test_a_forged_packet_of_another_sender_is_not_heard(ends, server):
    async with ends.opened() as quic:
        heard = ends.Heard()
        server.answer = bytes
        connection = await quic.connect(server.address(), heard)
        where = connection._endpoint._socket.getsockname()
        token = connection.quic._peer_cid.stateless_reset_token
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\x40" + bytes(30) + token, ("127.0.0.1", where[1]))
        connection.send(b"alive")
        await ends.until(lambda: heard.messages == [b"alive"])
        assert heard.lost == []
