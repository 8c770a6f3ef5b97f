"""What agents and relays rely on in a transport whose wire is WebSocket, whatever the other side sends.

The other side is a raw socket, in both roles: a stranger before a relay, and a hostile relay before an agent.
"""

from collections.abc import AsyncIterator
from typing import Self

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshloom.errors import TransportError
from meshloom.testing.contracts.transport import TransportContract, fill
from meshloom.testing.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PLENTY,
    PONG,
    TEXT,
    RawWebSocket,
    raw_client,
    raw_relay,
)
from meshloom.testing.transport_ground import WITHIN, Heard, Serving, until
from meshloom.transport import LONGEST_MESSAGE, Transport

pytestmark = pytest.mark.anyio

SOON = 5.0
"""Seconds, fewer than a handshake may take: what ends within them was ended for what it said."""
RELAY, AGENT = "as a relay", "as an agent"
HEADERS = b"".join(b"X-%03d: %b\r\n" % (number, b"a" * 1000) for number in range(100))


class Zeros(bytes):
    """Zeros in that number, which a report shows as the number."""

    __slots__ = ()

    def __new__(cls, size: int) -> Self:
        """Makes so many."""
        return super().__new__(cls, size)

    def __repr__(self) -> str:
        return f"Zeros({len(self)})"


FRAMES = st.tuples(
    st.sampled_from([CONTINUATION, TEXT, BINARY, 3, CLOSE, PING, PONG, 11]),
    st.booleans(),
    st.binary(max_size=60) | st.sampled_from([125, 126, LONGEST_MESSAGE]).map(Zeros),
    st.none() | st.sampled_from([0, 125, 126, LONGEST_MESSAGE + 1, 65535, 1 << 40, 1 << 63]),
)


@attrs.frozen
class Faced:
    """A raw other side, and what the transport's side heard."""

    raw: RawWebSocket
    heard: Heard


class WebSocketContract(TransportContract):
    """A subclass gives the fixture ``backend``."""

    @pytest.fixture(params=[RELAY, AGENT])
    async def faced(
        self, request: pytest.FixtureRequest, transport: Transport, served: Serving
    ) -> AsyncIterator[Faced]:
        """The transport in each role, open and admitted."""
        if request.param == RELAY:
            async with raw_client(served.address) as raw:
                await until(lambda: served.heard)
                yield Faced(raw, served.heard[0])
            return
        async with raw_relay() as relay:
            heard, found = Heard(), []

            async def accept() -> None:
                found.append(await relay.accept())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(accept)
                heard.connection = await transport.connect(relay.address, heard)
            yield Faced(found[0], heard)

    @pytest.mark.parametrize("kind", [PING, PONG])
    @pytest.mark.parametrize("size", [0, 125])
    async def test_pings_of_one_who_never_reads_do_not_wait_in_memory(self, faced: Faced, kind: int, size: int) -> None:
        sent = await faced.raw.flood(faced.raw.frame(kind, bytes(size)) * 1000)
        assert sent < PLENTY
        await until(lambda: faced.heard.lost)
        assert faced.heard.messages == []

    async def test_pings_are_answered(self, faced: Faced) -> None:
        for payload in (b"", b"x", bytes(range(125))):
            await faced.raw.send(faced.raw.frame(PING, payload))
            assert await faced.raw.read_frame() == (PONG, payload)
        await faced.raw.send(faced.raw.frame(BINARY, b"alive"))
        await until(lambda: faced.heard.messages == [b"alive"])

    async def test_while_nobody_reads_only_the_newest_ping_is_kept_and_messages_still_come(self, faced: Faced) -> None:
        connection = faced.heard.connection
        assert connection is not None
        await fill(connection)
        for number in range(50):
            await faced.raw.send(faced.raw.frame(PING, b"%d" % number))
        await faced.raw.send(faced.raw.frame(BINARY, b"still heard"))
        await until(lambda: faced.heard.messages == [b"still heard"])
        answered: list[bytes] = []
        while answered[-1:] != [b"49"]:
            found = await faced.raw.read_frame()
            assert found is not None
            if found[0] == PONG:
                answered.append(found[1])
        assert answered == [b"49"]

    async def test_fragments_become_one_message_whatever_comes_between_them(self, faced: Faced) -> None:
        raw = faced.raw
        parts = (raw.frame(BINARY, b"one ", fin=False), raw.frame(CONTINUATION, b"", fin=False))
        await raw.send(b"".join((*parts, raw.frame(PING, b"?"), raw.frame(CONTINUATION, b"message"))))
        await until(lambda: faced.heard.messages == [b"one message"])
        assert await raw.read_frame() == (PONG, b"?")

    @pytest.mark.parametrize("size", [0, 1, 1000])
    async def test_a_message_in_endless_fragments_ends_the_connection(self, faced: Faced, size: int) -> None:
        raw = faced.raw
        await raw.send(raw.frame(BINARY, b"begin", fin=False))
        sent = await raw.flood(raw.frame(CONTINUATION, bytes(size), fin=False) * 100)
        assert sent < PLENTY
        await until(lambda: faced.heard.lost)
        assert faced.heard.messages == []

    async def test_many_fragments_of_one_byte_end_the_connection_though_the_sum_is_short(self, faced: Faced) -> None:
        raw = faced.raw
        await raw.send(raw.frame(BINARY, b"x", fin=False) + raw.frame(CONTINUATION, b"x", fin=False) * 500)
        with anyio.fail_after(SOON):
            await until(lambda: faced.heard.lost)

    @pytest.mark.parametrize("claim", [LONGEST_MESSAGE + 1, 65535, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
    async def test_a_claim_of_a_long_message_ends_the_connection_before_it_comes(
        self, faced: Faced, claim: int
    ) -> None:
        await faced.raw.send(faced.raw.frame(BINARY, b"x", claim=claim))
        with anyio.fail_after(SOON):
            await until(lambda: faced.heard.lost)
        assert faced.heard.messages == []

    @pytest.mark.parametrize("opcode", [TEXT, 3, 7, 11, 15])
    async def test_what_is_no_binary_message_ends_the_connection(self, faced: Faced, opcode: int) -> None:
        sent = await faced.raw.flood(faced.raw.frame(opcode, b"text") * 1000)
        assert sent < PLENTY
        await until(lambda: faced.heard.lost)
        assert faced.heard.messages == []

    async def test_closing_frames_without_end_end_the_connection(self, faced: Faced) -> None:
        assert await faced.raw.flood(faced.raw.frame(CLOSE, b"\x03\xe8") * 1000) < PLENTY
        await until(lambda: faced.heard.lost)

    async def test_a_faulty_frame_behind_what_nobody_reads_ends_the_connection(self, faced: Faced) -> None:
        connection = faced.heard.connection
        assert connection is not None
        await fill(connection)
        await faced.raw.send(faced.raw.frame(3, b""))
        with anyio.fail_after(SOON):
            await until(lambda: faced.heard.lost)

    async def test_a_request_without_end_ends_the_connection(self, served: Serving) -> None:
        async with raw_client(served.address, upgrade=False) as raw:
            await raw.send(b"GET /relay HTTP/1.1\r\nHost: x\r\n" + HEADERS)
            with anyio.fail_after(SOON):
                await raw.read_to_end()
        async with raw_client(served.address, upgrade=False) as raw:
            assert await raw.flood(b"GET /relay HTTP/1.1\r\nX: " + b"a" * 100_000) < PLENTY

    @pytest.mark.parametrize("status", [b"101 Switching Protocols", b"200 OK", b"503 Busy"])
    @pytest.mark.parametrize("endless", [HEADERS, b"Content-Length: 99999999\r\n\r\n" + bytes(100_000)])
    async def test_an_answer_without_end_is_given_up(self, transport: Transport, status: bytes, endless: bytes) -> None:
        heard = Heard()
        async with raw_relay() as relay, anyio.create_task_group() as tasks:

            async def answer() -> None:
                raw = await relay.accept(upgrade=False)
                await raw.send(b"HTTP/1.1 %b\r\n%b" % (status, endless))

            tasks.start_soon(answer)
            with anyio.fail_after(SOON), pytest.raises(TransportError):
                await transport.connect(relay.address, heard)
        assert (heard.messages, heard.lost) == ([], [])

    async def test_compression_is_not_agreed_to(self, served: Serving) -> None:
        offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15, permessage-deflate\r\n"
        async with raw_client(served.address, offer) as raw:
            await until(lambda: served.heard)
            await raw.send(raw.frame(BINARY, b"as it is"))
            await until(lambda: served.heard[0].messages == [b"as it is"])

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(frames=st.lists(FRAMES, max_size=8), noise=st.binary(max_size=30), role=st.sampled_from([RELAY, AGENT]))
    async def test_garbage_does_nothing_but_close(
        self,
        transport: Transport,
        served: Serving,
        frames: list[tuple[int, bool, bytes, int | None]],
        noise: bytes,
        role: str,
    ) -> None:
        heard = Heard()
        async with raw_relay() as relay:
            if role == RELAY:
                served.heard.clear()
                async with raw_client(served.address) as raw:
                    await until(lambda: served.heard)
                    heard = served.heard[0]
                    await self._say(Faced(raw, heard), frames, noise)
                return

            async def accept() -> None:
                await self._say(Faced(await relay.accept(), heard), frames, noise)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(accept)
                await transport.connect(relay.address, heard)

    async def _say(self, faced: Faced, frames: list[tuple[int, bool, bytes, int | None]], noise: bytes) -> None:
        """Sends garbage; the other side must end the connection or go on, and must have heard no message too long."""
        raw = faced.raw
        for opcode, fin, payload, claim in frames:
            await raw.send(raw.frame(opcode, payload, fin=fin, claim=claim))
        await raw.send(noise)
        raw.socket.shutdown(1)  # the end of what this side sends: garbage that is half a frame must not hold it open
        with anyio.fail_after(WITHIN):
            await raw.read_to_end()
        await until(lambda: faced.heard.lost)
        assert len(faced.heard.lost) == 1
        assert all(len(message) <= LONGEST_MESSAGE for message in faced.heard.messages)
