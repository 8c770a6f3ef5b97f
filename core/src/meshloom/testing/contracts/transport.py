"""What agents and relays rely on in a transport."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from meshloom.backend import Backend
from meshloom.errors import TransportError
from meshloom.testing.certificates import Certificate, make_certificate
from meshloom.testing.contracts.backend import BackendContract
from meshloom.testing.transport_ground import WITHIN, Heard, LoopbackGround, Serving, TransportGround, until
from meshloom.transport import LONGEST_MESSAGE, LONGEST_OF_STRANGER, Connection, Transport, TransportContext

pytestmark = pytest.mark.anyio

MANY = 60
PLENTY = 64 << 20
"""Bytes after which a transport that goes on taking them has no bound."""
RUBBISH = (
    b"\0" * 2000,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
    b"GET /relay " + b"a" * 100_000,
    b"POST /relay HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + b"b" * 5000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    bytes(range(256)) * 8,
    b"\xc3\0\0\0\1\x08" + bytes(1180),
)


class TransportContract(BackendContract):
    """A subclass gives the fixture ``backend``, and ``ground`` where the transport is not one of real sockets."""

    @pytest.fixture
    def ground(self) -> TransportGround:
        """Where relays are."""
        return LoopbackGround()

    @pytest.fixture
    def context(self) -> TransportContext:
        """An agent's."""
        return TransportContext()

    @pytest.fixture
    async def transport(
        self, backend: Backend[Any, Any], options: Any, context: TransportContext
    ) -> AsyncIterator[Transport]:
        """Open."""
        async with backend.open(options, context) as transport:
            yield transport

    @pytest.fixture
    async def served(self, transport: Transport, ground: TransportGround) -> AsyncIterator[Serving]:
        """A relay that nobody has connected to."""
        async with ground.serving(transport) as served:
            yield served

    @pytest.fixture
    def certificate(self, ground: TransportGround, tmp_path: Path) -> Certificate:
        """Of ``relay.test`` and this host's loopback address."""
        if not ground.has_tls:
            pytest.skip("there are no certificates here")
        try:
            return make_certificate(tmp_path, "relay.test", "127.0.0.1")
        except LookupError as error:
            pytest.skip(str(error))

    async def test_messages_arrive_in_order_both_ways(self, transport: Transport, served: Serving) -> None:
        served.echo = True
        heard, connection = await connected(transport, served)
        sent = [bytes([number]) * (1 + number * 4) for number in range(200)]
        for message in sent:
            assert connection.send(message)
        await arrived(connection, heard, b"the last")
        assert is_part(heard.messages, sent) >= len(sent) // 2
        assert is_part(served.heard[0].messages, sent) >= len(sent) // 2

    async def test_a_message_may_be_sent_in_two_parts(self, transport: Transport, served: Serving) -> None:
        _, connection = await connected(transport, served)
        await until(lambda: connection.send(bytearray(b"head"), memoryview(b"packet")) and served.heard[0].messages)
        assert set(served.heard[0].messages) == {b"headpacket"}

    async def test_buffers_may_be_used_again_after_send(self, transport: Transport, served: Serving) -> None:
        _, connection = await connected(transport, served)
        buffer = bytearray(1000)
        for number in range(100):
            buffer[:] = bytes([number]) * 1000
            connection.send(buffer)
        await until(lambda: served.heard[0].messages)
        assert all(len(set(message)) == 1 for message in served.heard[0].messages)

    async def test_the_longest_message_arrives_and_a_longer_one_is_refused(
        self, transport: Transport, served: Serving
    ) -> None:
        _, connection = await connected(transport, served)
        assert connection.max_message_size <= LONGEST_MESSAGE
        assert not connection.send(bytes(connection.max_message_size + 1))
        assert not connection.send(bytes(LONGEST_MESSAGE), b"1")
        longest = connection.max_message_size
        await until(lambda: connection.send(b"x" * longest) and served.heard[0].messages)
        assert set(map(len, served.heard[0].messages)) == {longest}

    async def test_a_stranger_may_say_little_until_it_is_admitted(self, transport: Transport, served: Serving) -> None:
        served.admit = False
        heard, connection = await connected(transport, served)
        stranger = served.heard[0]
        await arrived(connection, stranger, bytes(LONGEST_OF_STRANGER))
        stranger.connection.admit()  # type: ignore[union-attr]
        await arrived(connection, stranger, bytes(LONGEST_OF_STRANGER + 1))
        assert (heard.lost, stranger.lost) == ([], [])

    async def test_a_stranger_who_says_much_is_closed(self, transport: Transport, served: Serving) -> None:
        served.admit = False
        heard, connection = await connected(transport, served)
        await until(lambda: heard.lost or not connection.send(bytes(LONGEST_OF_STRANGER + 1)))
        await until(lambda: heard.lost and served.heard[0].lost)
        assert served.heard[0].messages == []

    async def test_every_size_arrives(self, transport: Transport, served: Serving) -> None:
        _, connection = await connected(transport, served)
        for size in (1, 2, 37, 38, 125, 126, 127, 1000, connection.max_message_size):
            await arrived(connection, served.heard[0], bytes(size))

    async def test_both_sides_know_what_carries_it_and_from_where(
        self, backend: Backend[Any, Any], transport: Transport, served: Serving
    ) -> None:
        _, connection = await connected(transport, served)
        assert connection.transport == served.heard[0].connection.transport == backend.name  # type: ignore[union-attr]
        assert connection.remote == (served.address.host, served.address.port)
        assert served.heard[0].connection.remote[1] > 0  # type: ignore[union-attr]

    async def test_what_a_relay_sends_from_within_accept_arrives(self, transport: Transport, served: Serving) -> None:
        served.welcome = b"welcome"
        heard, _ = await connected(transport, served)
        await until(lambda: heard.messages == [b"welcome"])

    async def test_who_does_not_read_makes_send_refuse_and_hears_the_rest_in_order(
        self, transport: Transport, served: Serving
    ) -> None:
        heard, _ = await connected(transport, served)
        other, _ = await connected(transport, served)
        relay, reachable = served.heard[0], served.heard[1]
        assert relay.connection is not None
        served.shut()
        sent = await fill(relay.connection)
        assert relay.connection.is_full
        assert not relay.connection.send(b"more")
        served.open()
        await until(lambda: relay.writable_calls)
        assert not relay.connection.is_full
        await arrived(relay.connection, heard, b"the last")
        assert is_part(heard.messages, sent) > 0
        await arrived(reachable.connection, other, b"not held up")

    async def test_closing_tells_both_sides_once_and_not_from_within(
        self, transport: Transport, served: Serving
    ) -> None:
        heard, connection = await connected(transport, served)
        connection.close()
        connection.close()
        assert heard.lost == []
        assert not connection.send(b"too late")
        await until(lambda: heard.lost and served.heard[0].lost)
        await anyio.lowlevel.checkpoint()
        assert len(heard.lost) == len(served.heard[0].lost) == 1
        assert heard.lost[0]

    async def test_a_relay_may_close_and_what_it_sent_before_arrives(
        self, transport: Transport, served: Serving
    ) -> None:
        heard, _ = await connected(transport, served)
        relay = served.heard[0]
        assert relay.connection is not None
        assert relay.connection.send(b"goodbye")
        relay.connection.close()
        await until(lambda: heard.lost and relay.lost)
        assert heard.messages == [b"goodbye"]

    async def test_a_close_ends_though_the_other_side_does_not_read(
        self, transport: Transport, served: Serving
    ) -> None:
        await connected(transport, served)
        relay = served.heard[0]
        assert relay.connection is not None
        served.shut()
        await fill(relay.connection)
        relay.connection.close()
        await until(lambda: relay.lost)

    async def test_who_is_refused_cannot_connect_or_is_closed(self, transport: Transport, served: Serving) -> None:
        served.refuse = True
        heard = Heard()
        refusals: list[str] = []
        with anyio.fail_after(WITHIN):
            try:
                await transport.connect(served.address, heard)
            except TransportError as error:
                refusals.append(str(error))
        await until(lambda: heard.lost or refusals)
        assert all(str(served.address) in refusal for refusal in refusals)

    async def test_nobody_there_is_an_error_that_names_the_address(
        self, transport: Transport, ground: TransportGround
    ) -> None:
        async with ground.serving(transport) as served:
            address = served.address
        with anyio.fail_after(WITHIN), pytest.raises(TransportError) as caught:
            await transport.connect(address, Heard())
        assert str(address) in str(caught.value)

    async def test_a_certificate_that_nobody_trusts_is_refused(
        self, transport: Transport, ground: TransportGround, certificate: Certificate
    ) -> None:
        async with ground.serving(transport, certificate) as served:
            with anyio.fail_after(WITHIN), pytest.raises(TransportError) as caught:
                await transport.connect(served.address, Heard())
        assert str(served.address) in str(caught.value)

    async def test_a_certificate_of_an_extra_root_is_trusted_by_the_hosts_name_wherever_it_is(
        self, backend: Backend[Any, Any], options: Any, ground: TransportGround, certificate: Certificate
    ) -> None:
        trusting = TransportContext(extra_roots=certificate.chain)
        async with backend.open(options, trusting) as transport, ground.serving(transport, certificate) as served:
            address = attrs.evolve(served.address, host="relay.test", ip="127.0.0.1")
            heard = Heard()
            with anyio.fail_after(WITHIN):
                connection = await transport.connect(address, heard)
            await until(lambda: served.heard and connection.send(b"x") and served.heard[0].messages)

    async def test_a_certificate_of_another_name_is_refused(
        self, backend: Backend[Any, Any], options: Any, ground: TransportGround, certificate: Certificate
    ) -> None:
        trusting = TransportContext(extra_roots=certificate.chain)
        async with backend.open(options, trusting) as transport, ground.serving(transport, certificate) as served:
            address = attrs.evolve(served.address, host="other.test", ip="127.0.0.1")
            with anyio.fail_after(WITHIN), pytest.raises(TransportError):
                await transport.connect(address, Heard())

    async def test_rubbish_harms_nobody(self, transport: Transport, served: Serving) -> None:
        served.echo = True
        heard, connection = await connected(transport, served)
        for data in RUBBISH:
            served.rubbish(data)
            served.rubbish(data[:7])
        await arrived(connection, heard, b"still here")
        assert len(served.heard) == 1
        assert set(served.heard[0].messages) == {b"still here"}

    async def test_many_are_kept_apart(self, transport: Transport, served: Serving) -> None:
        served.echo = True
        clients = [await connected(transport, served) for _ in range(MANY)]
        for number, (heard, connection) in enumerate(clients):
            await arrived(connection, heard, b"%d" % number)
        for number, (heard, _) in enumerate(clients):
            assert set(heard.messages) == {b"%d" % number}
        clients[0][1].close()
        await until(lambda: clients[0][0].lost)
        assert not any(heard.lost for heard, _ in clients[1:])

    async def test_leaving_closes_what_is_open(
        self, backend: Backend[Any, Any], options: Any, context: TransportContext, ground: TransportGround
    ) -> None:
        async with AsyncExitStack() as stack:
            serving = await stack.enter_async_context(backend.open(options, context))
            served = await stack.enter_async_context(ground.serving(serving))
            async with backend.open(options, context) as transport:
                heard, _ = await connected(transport, served)
            assert len(heard.lost) == 1
            await until(lambda: served.heard[0].lost)

    async def test_a_cancelled_connect_tells_nobody(self, transport: Transport, served: Serving) -> None:
        served.shut()
        heard = Heard()
        with anyio.move_on_after(0.2) as scope:
            await transport.connect(served.address, heard)
        assert scope.cancelled_caught
        served.open()
        await connected(transport, served)
        assert (heard.messages, heard.lost) == ([], [])


async def connected(transport: Transport, served: Serving) -> tuple[Heard, Connection]:
    """A new connection, open on both sides."""
    before, heard = len(served.heard), Heard()
    with anyio.fail_after(WITHIN):
        heard.connection = await transport.connect(served.address, heard)
    await until(lambda: len(served.heard) > before)
    return heard, heard.connection


async def arrived(connection: Connection | None, heard: Heard, message: bytes) -> None:
    """Send until it arrives: any one message may be lost."""
    assert connection is not None
    with anyio.fail_after(WITHIN):
        while message not in heard.messages:
            connection.send(message)
            with anyio.move_on_after(0.5):
                await until(lambda: message in heard.messages)


async def fill(connection: Connection) -> list[bytes]:
    """Send numbered messages until one is refused for good; those that were taken."""
    taken: list[bytes] = []
    size = min(1200, connection.max_message_size)
    refused = 0
    while refused < 20:
        message = len(taken).to_bytes(4, "big") * (size // 4)
        if connection.send(message):
            taken.append(message)
            refused = 0
        else:
            refused += 1
        if refused or not len(taken) % 100:
            await anyio.sleep(0.002)
        assert len(taken) * size < PLENTY, "send takes more and more though nobody reads"
    return taken


def is_part(received: list[bytes], sent: list[bytes]) -> int:
    """How many of those sent were received; they must have been in order, and each once."""
    places = {message: place for place, message in enumerate(sent)}
    found = [places[message] for message in received if message in places]
    assert found == sorted(set(found))
    return len(found)
