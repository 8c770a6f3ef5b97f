"""Many callers that show nobody who they are: whoever does is let in, stays, and is served meanwhile."""

import asyncio
import contextlib
import itertools
import socket
import ssl
import subprocess
import time

import anyio
import pytest
import uvloop

from meshloom.pace import Pace
from meshloom.testing.loops import forgiving
from meshloom_front import port as port_module
from meshloom_front.costs import CONNECTION_TAKES
from meshloom_front.http import PROVE, http_protocol
from meshloom_front.http2 import frames
from meshloom_front.http2.headers import encode
from meshloom_front.listening import listen
from meshloom_front.port import PortLimits, SharedTCPPort, Upgrades, open_port
from meshloom_front.rpc.call import bidirectional, plain, service, unary
from meshloom_front.rpc.calls import CALL_TAKES
from meshloom_front.rpc.messages import framed
from meshloom_front.rpc.server import RPC
from meshloom_front.tls.certificates import Certificates

pytestmark = pytest.mark.anyio
LIMITS = PortLimits(connections=40, waiting=20)
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
GOOD = b"GET /hello HTTP/1.1\r\nHost: x\r\nAuthorization: good\r\n\r\n"
UPGRADE = b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"loop_factory": forgiving(uvloop.Loop if request.param else asyncio.SelectorEventLoop)}


class Relay(asyncio.Protocol):
    """What an upgrade leads to: it says hello and waits for ever."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(b"relay")


async def app(scope, receive, send):
    """Knows whoever has a good token."""
    if dict(scope["headers"]).get(b"authorization") == b"good":
        scope["extensions"][PROVE]()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def echo(request, call):
    return request


async def prove(request, call):
    call.prove()
    return request


async def stream(call):
    call.begin()
    call.stay()
    async for _ in call.requests():
        pass


class Client:
    """One connection, of an address of its own."""

    numbers = itertools.count(2)

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.stream = -1

    def call(self, method, *, ended=True):
        first, self.stream = self.stream < 0, self.stream + 2
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t.T/" + method)]
        block = encode([*fields, (b"content-type", b"application/grpc")])
        head = frames.head(frames.HEADERS, frames.END_HEADERS, self.stream, len(block)) + block
        body = framed(b"x")
        flags = frames.END_STREAM if ended else 0
        data = frames.head(frames.DATA, flags, self.stream, len(body)) + body
        self.writer.write((frames.PREFACE + frames.settings({}) if first else b"") + head + data)

    async def called(self, method):
        """Call, and wait for the answer."""
        self.call(method)
        await self.hears(b"\0\0\0\0\1x")

    async def hears(self, what, within=10):
        with anyio.fail_after(within):
            await self.reader.readuntil(what)

    async def ends(self):
        with anyio.fail_after(10), contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


class Front:
    """A port, and clients of it."""

    def __init__(self, port, number):
        self.port, self.number, self.clients = port, number, []

    async def client(self, address=None, **how):
        address = address or f"127.0.{(number := next(Client.numbers)) // 250 + 1}.{number % 250 + 1}"
        client = Client(*await asyncio.open_connection("127.0.0.1", self.number, local_addr=(address, 0), **how))
        self.clients.append(client)
        return client

    async def stranger(self, address=None):
        """One that has made a free call."""
        client = await self.client(address)
        await client.called(b"Free")
        return client


@pytest.fixture
async def front():
    made = []
    async with contextlib.AsyncExitStack() as stack:

        async def start(limits=LIMITS, tls=None):
            methods = {
                "Free": plain(lambda request, call: request),
                "Prove": unary(prove),
                "Down": bidirectional(stream),
            }
            port = SharedTCPPort(http_protocol(app), RPC([service("t.T", methods)]), limits, Upgrades("/relay", Relay))
            listening = listen("127.0.0.1:0", "listen")
            number = listening.getsockname()[1]
            await stack.enter_async_context(open_port(port, listening, tls))
            made.append(Front(port, number))
            return made[-1]

        yield start
        for each in made:
            for client in each.clients:
                client.writer.transport.abort()
    for each in made:
        with anyio.fail_after(5):
            while len(each.port.callers):
                await anyio.sleep(0.005)


async def test_strangers_with_a_free_call_each_keep_no_registered_peer_out(front):
    made = await front()
    registered = [await made.client() for _ in range(3)]
    for client in registered:
        await client.called(b"Prove")
    for _ in range(3 * LIMITS.connections):
        await made.stranger()
    assert len(made.port.callers) == LIMITS.connections
    late = await made.client()
    for method in (b"Free", b"Prove", b"Free"):
        await late.called(method)
    for _ in range(2 * LIMITS.connections):
        await made.stranger()
    for client in (*registered, late):
        await client.called(b"Free")


async def test_strangers_with_a_request_each_keep_no_token_out(front):
    made = await front()
    known = await made.client()
    known.writer.write(GOOD)
    await known.hears(b"hello")
    for _ in range(3 * LIMITS.connections):
        stranger = await made.client()
        stranger.writer.write(GET)
        await stranger.hears(b"hello")
    assert len(made.port.callers) <= LIMITS.connections
    known.writer.write(GET)
    await known.hears(b"hello")


async def test_the_oldest_stranger_gives_way(front):
    made = await front()
    strangers = [await made.stranger() for _ in range(LIMITS.connections)]
    await made.stranger()
    await strangers[0].ends()
    for client in strangers[1:]:
        await client.called(b"Free")


async def test_a_network_has_no_more_than_its_share_where_the_port_is_nearly_full(front):
    made = await front()
    share, nearly = LIMITS.connections // 8, LIMITS.connections * 3 // 4
    many = [await made.stranger("127.9.9.9") for _ in range(nearly)]
    others = [await made.stranger() for _ in range(share)]
    assert len(made.port.callers) == nearly + share, "there is room: all of one address may stay"
    for _ in range(nearly):
        await made.stranger("127.9.9.9")
    assert len(made.port.callers) <= LIMITS.connections
    for client in others:
        await client.called(b"Free")
    await many[0].ends()


async def test_streams_that_a_service_accepts_stay(front):
    made = await front()
    accepted = await made.client()
    accepted.call(b"Down", ended=False)
    await accepted.hears(b"application/grpc")
    for _ in range(2 * LIMITS.connections):
        await made.stranger()
    await accepted.called(b"Free")


async def test_strangers_that_ask_for_the_relay_are_counted_and_give_way(front):
    made = await front()
    relayed = []
    for _ in range(2 * LIMITS.connections):
        relayed.append(await made.client())
        relayed[-1].writer.write(UPGRADE)
        await relayed[-1].hears(b"relay")
    assert len(made.port.callers) <= LIMITS.connections
    await relayed[0].ends()
    await (await made.client()).called(b"Prove")
    relayed[-1].writer.write(b"x")
    await relayed[-1].hears(b"relay")


EXHAUSTED = 1e-9, 0.0, time.monotonic
"""An allowance that never comes again."""


async def test_a_stranger_who_costs_much_waits_and_nobody_else_does(front):
    made = await front()
    calling, asking, known = await made.stranger(), await made.client(), await made.client()
    asking.writer.write(GET)
    await asking.hears(b"hello")
    await known.called(b"Prove")
    for caller in made.port.callers.new:
        caller._pace = Pace(*EXHAUSTED)
    calling.call(b"Free")
    asking.writer.write(GET)
    for _ in range(20):
        await known.called(b"Free")
        await made.stranger()
    for client, said in ((calling, b"\0\0\0\0\1x"), (asking, b"hello")):
        with pytest.raises(TimeoutError):
            await client.hears(said, within=0.05)


async def test_all_strangers_together_have_a_share(front):
    made = await front()
    known = await made.client()
    await known.called(b"Prove")
    made.port.callers.turns.pace = Pace(*EXHAUSTED)
    strangers = [await made.client() for _ in range(3)]
    for client in strangers:
        client.call(b"Free")
    for _ in range(20):
        await known.called(b"Free")
    for client in strangers:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.05)


async def test_a_newcomer_is_served_before_what_a_crowd_of_strangers_has_piled_up(front):
    made = await front(PortLimits(connections=100, waiting=100))
    crowd = [await made.stranger() for _ in range(30)]
    for client in crowd:
        for _ in range(500):
            client.call(b"Free")
    for address in (None, "127.0.0.1"):
        newcomer = await made.client(address)
        for method in (b"Free", b"Prove", b"Free"):
            await newcomer.called(method)
    left = sum(connection._incoming.held for connection in made.port.rpc.connections)
    assert left > 30 * 500 * 20, "most of what the crowd wants has not been looked at yet"
    for client in crowd:
        for _ in range(500):
            await client.hears(b"\0\0\0\0\1x")


async def test_all_connections_that_wait_are_taken_at_once(front):
    made = await front(PortLimits(connections=100, waiting=100))
    waiting = [socket.create_connection(("127.0.0.1", made.number)) for _ in range(50)]  # the loop does nothing yet
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(made.port.callers) + made.port.beginning() >= 50
    for each in waiting:
        each.close()


async def test_who_asks_for_another_protocol_says_little_before_the_answer(front):
    made = await front()
    patient, other = await made.client(), await made.client()
    patient.writer.write(UPGRADE)
    await patient.hears(b"relay")
    other.writer.write(UPGRADE + bytes(port_module.LONGEST_START))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await other.hears(b"relay")


async def test_connections_on_which_nothing_waits_count_in_the_budget(front):
    made = await front(PortLimits(connections=100, waiting=100))
    idle = [await made.client() for _ in range(30)]
    for client, said in zip(idle, itertools.cycle((frames.PREFACE + frames.settings({}), GET, UPGRADE)), strict=False):
        client.writer.write(said)
        await client.reader.read(1)
    assert made.port.callers.budget.strangers.size >= 30 * CONNECTION_TAKES
    accepted = await made.client()
    before = made.port.callers.budget.strangers.size
    accepted.call(b"Down", ended=False)
    await accepted.hears(b"application/grpc")
    await accepted.called(b"Free")
    assert made.port.callers.budget.strangers.size - before < CONNECTION_TAKES + CALL_TAKES


async def test_what_a_known_caller_has_cost_before_burdens_no_stranger(front):
    made = await front()
    pace = made.port.callers.turns.pace = Pace(1e-9, 0.5, time.monotonic)
    for _ in range(LIMITS.connections - 1):
        await (await made.client()).called(b"Prove")
    assert pace.spend(0.49) == 0


@pytest.fixture
def certificate(tmp_path):
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run([*made, "-keyout", files[1], "-out", files[0], *subject], check=True, capture_output=True)
    return files


async def test_handshakes_of_one_network_wait_and_those_of_others_do_not(front, certificate):
    made = await front(tls=Certificates(*certificate).context)
    one = made.port.callers.turns.network("127.9.9.9")
    one.pace, one._share = Pace(1e-6, 0.004, time.monotonic, longest=0.3), 1e-6
    trust = ssl.create_default_context(cafile=certificate[0])
    for _ in range(10):
        await (await made.client("127.9.9.9", ssl=trust)).called(b"Prove")
    many = [asyncio.create_task(made.client("127.9.9.9", ssl=trust)) for _ in range(10)]
    another = await made.client("127.9.9.8", ssl=trust)
    await another.called(b"Free")
    assert sum(each.done() for each in many) < 10
    one._share = 1.0
    one.pace = Pace(1.0, 10.0, time.monotonic)
    for client in await asyncio.gather(*many):
        await client.called(b"Free")


async def test_handshakes_of_one_network_give_way_to_each_other_where_there_are_many(front, certificate):
    made = await front(PortLimits(500, 40), Certificates(*certificate).context)
    others = [await asyncio.open_connection("127.0.0.1", made.number, local_addr=("127.8.8.8", 0)) for _ in range(4)]
    many = [await asyncio.open_connection("127.0.0.1", made.number, local_addr=("127.9.9.9", 0)) for _ in range(100)]
    with anyio.fail_after(port_module.FIRST_BYTES_WITHIN / 2), contextlib.suppress(ConnectionError):
        await many[0][0].read()
    await (await made.client(ssl=ssl.create_default_context(cafile=certificate[0]))).called(b"Free")
    for reader, _ in others:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.01)
    for _, writer in (*others, *many):
        writer.transport.abort()
