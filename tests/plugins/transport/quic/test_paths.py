"""Paths that lose, swap, shrink, move and end."""

import random
import socket
import sys
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from meshloom.transport import RelayAddress, TransportContext
from meshloom_transport_quic import Options
from meshloom_transport_quic.sockets import prepare

pytestmark = pytest.mark.anyio


async def test_what_the_network_loses_and_swaps_is_neither_changed_nor_doubled(ends, quic, server, wire):
    heard = ends.Heard()
    server.answer = bytes
    connection = await quic.connect(server.address(port=wire.port), heard)
    wire.loss, wire.swap = 0.1, True
    sent = [number.to_bytes(4) + random.Random(number).randbytes(number % 1000) for number in range(1000)]
    for message in sent:
        with anyio.fail_after(10):
            while not connection.send(message):
                await anyio.sleep(0.001)
        await anyio.lowlevel.checkpoint()
    await ends.until(lambda: len(server.receivers[0].messages) > 800)
    arrived = server.receivers[0].messages
    assert set(arrived) <= set(sent)
    assert len(set(arrived)) == len(arrived)
    await ends.until(lambda: len(heard.messages) > 500)
    assert connection.is_open


async def test_a_handshake_survives_loss(ends, quic, server, wire):
    wire.loss = 0.3
    for _ in range(5):
        with anyio.fail_after(20):
            connection = await quic.connect(server.address(port=wire.port), ends.Heard())
        connection.close()


async def test_a_client_whose_address_changes_stays_connected(ends, quic, server, wire):
    heard = ends.Heard()
    server.answer = bytes
    connection = await quic.connect(server.address(port=wire.port), heard)
    await ends.until(lambda: server.receivers[0].connection.max_message_size == 1410)
    for number in range(5):
        port = await wire.new_address()
        connection.send(bytes([number]))
        await ends.until(lambda: heard.messages[-1] == bytes([number]))  # noqa: B023
        assert server.receivers[0].connection.remote == ("127.0.0.1", port)
        await ends.until(lambda: server.receivers[0].connection.max_message_size == 1410)
    assert len(server.receivers) == 1


async def test_a_narrow_path_is_found(ends, quic, server, wire):
    wire.largest = 1400
    connection = await quic.connect(server.address(port=wire.port), ends.Heard())
    await ends.until(lambda: connection.max_message_size == 1350)
    assert connection.send(bytes(1350))
    await ends.until(lambda: [len(message) for message in server.receivers[0].messages] == [1350])


async def test_a_path_too_narrow_for_wireguard_says_so(ends, quic, server, wire):
    wire.largest = 1300
    connection = await quic.connect(server.address(port=wire.port), ends.Heard())
    await ends.until(lambda: connection._search.next is None)
    assert connection.max_message_size == 1190
    assert not connection.send(bytes(1350))
    assert connection.send(bytes(1190))
    await ends.until(lambda: server.receivers[0].messages)


async def test_an_interface_that_carries_less_than_before_is_noticed(ends, quic, server):
    connection = await quic.connect(server.address(), ends.Heard())
    await ends.until(lambda: connection.max_message_size == 1410)
    connection.send(bytes(1400))
    connection.send(bytes(100))
    connection.too_large()
    assert connection.max_message_size == 1190
    await ends.until(lambda: len(server.receivers[0].messages) == 1)
    await ends.until(lambda: connection.max_message_size == 1410)


async def test_both_sides_hear_several_times_after_the_handshake_so_that_netbirds_looks_for_a_larger_path(
    ends, quic, server, wire
):
    connection = await quic.connect(server.address(port=wire.port), ends.Heard())
    await ends.until(lambda: server.receivers)
    sides = (connection, server.receivers[0].connection)
    await ends.until(lambda: all(link.quic._packet_number >= 12 for link in sides))
    assert server.receivers[0].messages == []


async def test_a_silent_connection_outlives_the_idle_timeout(ends):
    options = Options(idle=timedelta(seconds=1))
    async with (
        ends.opened(options) as quic,
        ends.serving(quic) as server,
        ends.wire_to(server.port) as wire,
    ):
        heard = ends.Heard()
        connection = await quic.connect(server.address(port=wire.port), heard)
        loop = anyio.current_time
        begun = loop()
        await ends.until(lambda: loop() > begun + 2)
        assert (heard.lost, connection.is_open) == ([], True)
        assert server.receivers[0].lost == []


async def test_a_dead_path_ends_both_sides_after_the_idle_timeout(ends):
    options = Options(idle=timedelta(seconds=1))
    async with (
        ends.opened(options) as quic,
        ends.serving(quic) as server,
        ends.wire_to(server.port) as wire,
    ):
        heard = ends.Heard()
        connection = await quic.connect(server.address(port=wire.port), heard)
        await ends.until(lambda: server.receivers)
        wire.is_cut = True
        await ends.until(lambda: heard.lost and server.receivers[0].lost)
        assert heard.lost == server.receivers[0].lost == ["nothing was heard of the other side"]
        assert not connection.send(b"x")


async def test_a_server_restarted_with_the_same_key_is_noticed_at_once(ends, authority):
    pair = authority.issue("127.0.0.1")
    async with (
        ends.opened(extra_roots=authority.root) as quic,
        ends.serving(quic, lambda: pair) as server,
        ends.serving(quic, lambda: pair) as restarted,
        ends.wire_to(server.port) as wire,
    ):
        heard = ends.Heard()
        connection = await quic.connect(server.address(port=wire.port), heard)
        await ends.until(lambda: connection.max_message_size == 1410)
        wire.server = ("127.0.0.1", restarted.port)
        connection.send(bytes(100))
        await ends.until(lambda: heard.lost)
        assert heard.lost == ["the other side was restarted"]


DYING = """
import anyio, socket, sys
import meshloom_transport_quic as plugin
from meshloom.transport import Receiver, TransportContext

class Silent(Receiver):
    def message_received(self, message): print("heard", flush=True)
    def connection_lost(self, reason): pass

async def main():
    (backend,) = plugin.meshloom_transports()
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    async with backend.open(backend.options(), TransportContext()) as quic:
        async with quic.serve(made, None, lambda connection: Silent()):
            print(made.getsockname()[1], flush=True)
            await anyio.sleep_forever()

anyio.run(main)
"""


async def test_a_server_that_was_killed_is_noticed_by_the_networks_refusal(ends, quic):
    heard = ends.Heard()
    async with await anyio.open_process([sys.executable, "-c", DYING], stderr=None) as process:
        try:
            said = BufferedByteReceiveStream(process.stdout)
            port = int(await said.receive_until(b"\n", 100))
            connection = await quic.connect(RelayAddress("127.0.0.1", port, tls=False), heard)
            connection.send(b"is anybody there")
            assert await said.receive_until(b"\n", 100) == b"heard"
        finally:
            process.kill()
        await process.wait()
    assert connection.send(b"and now")
    await ends.until(lambda: heard.lost)
    assert heard.lost == ["the other side is gone"]


async def test_a_forged_refusal_does_not_end_a_connection(ends, quic, server):
    heard = ends.Heard()
    server.answer = bytes
    connection = await quic.connect(server.address(), heard)
    connection.doubt("Connection refused")
    await ends.until(lambda: connection._doubted_until is None)
    connection.send(b"alive")
    await ends.until(lambda: heard.messages == [b"alive"])


def test_a_kernel_buffer_that_stays_small_is_said_with_the_fix(caplog):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        prepare(made, TransportContext(socket_buffer=(1 << 31) - 1))
    assert "raise it with sysctl -w net.core.rmem_max=2147483647" in caplog.text


def test_a_kernel_buffer_is_as_large_as_is_wanted_where_it_may_be(caplog):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        prepare(made, TransportContext(socket_buffer=1 << 16))
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 2 << 16
    assert caplog.text == ""
