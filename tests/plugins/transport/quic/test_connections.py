"""Messages both ways, room, and the end of connections."""

import errno

import anyio
import pytest

from meshloom.errors import TransportError
from meshloom.transport import LONGEST_MESSAGE, RelayAddress
from meshloom_transport_quic import Options

pytestmark = pytest.mark.anyio


async def test_messages_arrive_whole_and_in_order_both_ways(ends, quic, server):
    server.answer = bytes
    heard = ends.Heard()
    connection = await quic.connect(server.address(), heard)
    sent = [bytes([number]) * (number * 5) for number in range(200)]
    for message in sent:
        assert connection.send(message)
    await ends.until(lambda: len(heard.messages) == len(sent))
    assert server.receivers[0].messages == sent
    assert heard.messages == sent


async def test_a_message_may_be_sent_in_two_parts(ends, quic, server):
    connection = await quic.connect(server.address(), ends.Heard())
    assert connection.send(bytearray(b"head"), memoryview(b"packet"))
    await ends.until(lambda: server.receivers[0].messages == [b"headpacket"])


async def test_buffers_may_be_used_again_after_send(ends, quic, server):
    connection = await quic.connect(server.address(), ends.Heard())
    buffer = bytearray(b"first")
    assert connection.send(buffer)
    buffer[:] = b"other"
    await ends.until(lambda: server.receivers[0].messages == [b"first"])


async def test_a_wireguard_packet_of_mtu_1280_fits_once_the_path_is_known(ends, quic, server):
    connection = await quic.connect(server.address(), ends.Heard())
    assert connection.max_message_size >= 1190
    await ends.until(lambda: connection.max_message_size >= 2 + 36 + 32 + 1280)
    assert connection.send(bytes(2 + 36), bytes(32 + 1280))
    await ends.until(lambda: [len(message) for message in server.receivers[0].messages] == [1350])
    await ends.until(lambda: server.receivers[0].connection.max_message_size >= 1350)


async def test_the_longest_message_arrives_and_a_longer_one_is_not_sent(ends, quic, server):
    connection = await quic.connect(server.address(), ends.Heard())
    await ends.until(lambda: connection.max_message_size == 1410)
    assert not connection.send(bytes(connection.max_message_size + 1))
    assert connection.send(bytes(connection.max_message_size))
    await ends.until(lambda: [len(message) for message in server.receivers[0].messages] == [1410])


async def test_larger_packets_can_be_configured(ends):
    async with ends.opened(Options(largest_packet=9000)) as quic, ends.serving(quic) as server:
        connection = await quic.connect(server.address(), ends.Heard())
        await ends.until(lambda: connection.max_message_size == min(9000 - 42, LONGEST_MESSAGE))
        assert connection.send(bytes(LONGEST_MESSAGE))
        await ends.until(lambda: [len(message) for message in server.receivers[0].messages] == [LONGEST_MESSAGE])


async def test_a_message_longer_than_the_protocols_longest_closes_the_connection(ends, quic, server):
    heard = ends.Heard()
    connection = await quic.connect(server.address(), heard)
    connection.quic.packet_size = 9100
    connection.quic.send_datagram_frame(bytes(LONGEST_MESSAGE + 1))
    connection.send(b"")
    await ends.until(lambda: server.receivers[0].lost and heard.lost)
    assert server.receivers[0].messages == []


async def test_what_finds_no_room_is_refused_and_room_is_told(ends):
    async with ends.opened(Options(queue=8)) as quic, ends.serving(quic) as server:
        heard = ends.Heard()
        connection = await quic.connect(server.address(), heard)
        taken = [number for number in range(100) if connection.send(bytes([number]))]
        assert taken == list(range(8))
        assert connection.is_full
        await ends.until(lambda: heard.writable_calls == 1)
        assert not connection.is_full
        assert connection.send(b"more")
        await ends.until(lambda: len(server.receivers[0].messages) == 9)


async def test_closing_delivers_what_was_sent_and_tells_both_sides_once(ends, quic, server):
    heard = ends.Heard()
    connection = await quic.connect(server.address(), heard)
    for _ in range(100):
        assert connection.send(bytes(1000))
    connection.close()
    connection.close()
    assert heard.lost == []
    assert not connection.send(b"too late")
    await ends.until(lambda: heard.lost and server.receivers[0].lost)
    assert len(server.receivers[0].messages) == 100
    assert (heard.lost, server.receivers[0].lost) == (["closed by this side"], ["closed by the other side"])


async def test_the_server_closes_a_connection(ends, quic, server):
    heard = ends.Heard()
    connection = await quic.connect(server.address(), heard)
    assert connection.send(b"hello")
    await ends.until(lambda: server.receivers[0].messages)
    server.receivers[0].connection.send(b"bye")
    server.receivers[0].connection.close()
    await ends.until(lambda: heard.lost)
    assert heard.messages == [b"bye"]
    assert heard.lost == ["closed by the other side"]
    assert not connection.send(b"too late")


async def test_what_is_sent_while_accepting_arrives(ends, quic, server):
    server.welcome = b"welcome"
    heard = ends.Heard()
    await quic.connect(server.address(), heard)
    await ends.until(lambda: heard.messages == [b"welcome"])


async def test_a_refused_connection_is_lost(ends, quic, server):
    server.refuse = True
    heard = ends.Heard()
    connection = await quic.connect(server.address(), heard)
    await ends.until(lambda: heard.lost)
    assert not connection.send(b"x")


async def test_a_server_that_leaves_closes_its_connections(ends, quic):
    heard = ends.Heard()
    async with ends.serving(quic) as server:
        await quic.connect(server.address(), heard)
        await ends.until(lambda: server.receivers)
    assert server.receivers[0].lost == ["closed by this side"]
    await ends.until(lambda: heard.lost == ["closed by the other side"])


async def test_leaving_the_transport_closes_what_it_connected(ends, quic, server):
    heard = ends.Heard()
    async with ends.opened() as other:
        await other.connect(server.address(), heard)
    assert heard.lost == ["closed by this side"]
    await ends.until(lambda: server.receivers[0].lost == ["closed by the other side"])


async def test_two_clients_do_not_hear_each_other(ends, quic, server):
    server.answer = bytes
    one, other = ends.Heard(), ends.Heard()
    first = await quic.connect(server.address(), one)
    second = await quic.connect(server.address(), other)
    first.send(b"one")
    second.send(b"other")
    await ends.until(lambda: one.messages and other.messages)
    assert (one.messages, other.messages) == ([b"one"], [b"other"])
    first.close()
    await ends.until(lambda: one.lost)
    second.send(b"still here")
    await ends.until(lambda: other.messages == [b"other", b"still here"])


async def test_ipv6(ends, quic):
    async with ends.serving(quic, host="::1") as server:
        server.answer = bytes
        heard = ends.Heard()
        connection = await quic.connect(server.address("::1"), heard)
        connection.send(b"six")
        await ends.until(lambda: heard.messages == [b"six"])
        assert connection.remote == ("::1", server.port)


async def test_an_ipv4_client_of_a_dual_stack_server_has_an_ipv4_address(ends, quic):
    async with ends.serving(quic, host="::") as server:
        await quic.connect(server.address(), ends.Heard())
        await ends.until(lambda: server.receivers)
        assert server.receivers[0].connection.remote[0] == "127.0.0.1"


async def test_a_name_whose_first_address_refuses_is_reached_by_another(ends, quic, server):
    connection = await quic.connect(server.address("localhost"), ends.Heard())
    assert connection.remote == ("127.0.0.1", server.port)


async def test_a_port_where_nobody_listens_is_an_error_that_names_it(ends, quic, server):
    async with ends.serving(quic) as gone:
        address = gone.address()
    with anyio.fail_after(5), pytest.raises(TransportError, match=rf"rel://127.0.0.1:{address.port}.*refused"):
        await quic.connect(address, ends.Heard())


async def test_an_address_that_this_host_may_not_send_to_is_an_error_at_once(ends, quic):
    with anyio.fail_after(5), pytest.raises(TransportError, match=r"255\.255\.255\.255.*Permission denied"):
        await quic.connect(RelayAddress("255.255.255.255", 9, tls=False), ends.Heard())


async def test_an_open_connection_outlives_a_time_without_a_network(ends, quic, server):
    heard = ends.Heard()
    server.answer = bytes
    connection = await quic.connect(server.address(), heard)
    connection._endpoint._failed(OSError(errno.ENETUNREACH, "Network is unreachable"))
    assert connection._doubted_until is None
    connection.send(b"alive")
    await ends.until(lambda: heard.messages == [b"alive"])


async def test_a_name_that_does_not_exist_is_an_error_that_names_it(ends, quic, server):
    with pytest.raises(TransportError, match="rel://relay.invalid:1: the name cannot be resolved"):
        await quic.connect(server.address("relay.invalid", 1), ends.Heard())


async def test_connecting_is_given_up_by_cancelling(ends, quic, server, wire):
    wire.is_cut = True
    heard = ends.Heard()
    with anyio.move_on_after(0.05) as scope:
        await quic.connect(server.address(port=wire.port), heard)
    assert scope.cancelled_caught
    assert (heard.messages, heard.lost, server.receivers) == ([], [], [])


async def test_a_configured_proxy_is_not_gone_around(ends, server):
    async with ends.opened(proxy="http://proxy.example:3128") as quic:
        with pytest.raises(TransportError, match="does not go through an HTTP proxy"):
            await quic.connect(server.address(), ends.Heard())


async def test_a_connection_identifier_is_known_as_soon_as_it_was_given_out(ends, quic, server):
    """NetBird's relay uses one in the next packet."""
    connection = await quic.connect(server.address(), ends.Heard())
    await ends.until(lambda: server.receivers and len(connection._endpoint._identifiers) == 8)
    for link in (connection, server.receivers[0].connection):
        given = {identifier.cid for identifier in link.quic._host_cids}
        routes = link._endpoint._identifiers
        assert given <= (routes if link is connection else routes[link])
