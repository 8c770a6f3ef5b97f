"""HTTP/1.1 clients that ask much and read nothing: what is kept for them is bounded, and counted."""

import asyncio
import contextlib
import time

import anyio
import anyio.lowlevel
import pytest
import uvloop

from meshloom.pace import Pace
from meshloom.testing.loops import forgiving
from meshloom_front import http
from meshloom_front.costs import CONNECTION_TAKES
from meshloom_front.http import PIPELINED, http_protocol

pytestmark = pytest.mark.anyio
GET = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
SIZE = 300_000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"loop_factory": forgiving(uvloop.Loop if request.param else asyncio.SelectorEventLoop)}


async def app(scope, receive, send):
    """Answers with much or little, when the body has come; keeps all of it until then, as an application may."""
    body = []
    while True:
        message = await receive()
        body.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    size = b"%d" % (SIZE if scope["path"] == "/large" else 5)
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", size)]})
    await send({"type": "http.response.body", "body": bytes(int(size))})


class Served:
    def __init__(self, protocol, number):
        self.protocol, self.number, self.writers = protocol, number, []
        self.callers = protocol.callers

    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, limit=1 << 16)
        self.writers.append(writer)
        writer.transport.pause_reading()
        return reader, writer

    def connections(self):
        return list(self.protocol._state.connections)


@pytest.fixture
async def served():
    protocol = http_protocol(app)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    made = Served(protocol, server.sockets[0].getsockname()[1])
    yield made
    server.close()
    for writer in made.writers:
        writer.transport.abort()
    for connection in made.connections():
        connection.transport.abort()
    await eventually(lambda: not len(made.callers))
    assert made.callers.budget.strangers.size == 0


async def eventually(condition):
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


async def test_requests_that_wait_for_the_one_before_are_few(served):
    _, writer = await served.client()
    writer.write(LARGE + GET * 20_000)
    await eventually(served.connections)
    (connection,) = served.connections()
    most = 0
    with anyio.fail_after(10):
        while served.connections():
            most = max(most, len(connection.pipeline))
            await anyio.lowlevel.checkpoint()
    assert most <= PIPELINED


async def test_who_asks_again_and_again_and_reads_nothing_is_not_read_either(served):
    _, writer = await served.client()
    await eventually(served.connections)
    (connection,) = served.connections()
    for _ in range(1000):
        writer.write(LARGE)
        await asyncio.sleep(0)
        if connection.flow.write_paused:
            break
    await eventually(lambda: connection.flow.write_paused)
    writer.write(GET * 500_000)
    await eventually(lambda: writer.transport.get_write_buffer_size() > 1 << 20)
    assert connection._measure() <= 2 * SIZE + (PIPELINED + 1) * http.LONGEST_HEAD
    assert len(connection.pipeline) <= PIPELINED
    assert served.callers.budget.strangers.size == connection._caller.held.size > SIZE / 2


async def test_a_client_that_reads_nothing_any_more_ends(served, monkeypatch):
    monkeypatch.setattr(http, "STANDS_STILL", 0.2)
    _, writer = await served.client()
    for _ in range(50):
        writer.write(LARGE)
    await eventually(served.connections)
    await eventually(lambda: not served.connections())


async def test_bodies_of_all_connections_count_and_the_largest_goes_first(served):
    pool = served.callers.budget.strangers
    pool.limit = 2 << 20
    head = b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    sizes = [20_000 * number for number in range(1, 20)]
    for size in sizes:
        _, writer = await served.client()
        writer.write(head + bytes(size))
    await eventually(lambda: 0 < len(served.connections()) < len(sizes))
    await eventually(
        lambda: sum(each._measure() + each._caller.held.base for each in served.connections()) == pool.size
    )
    assert pool.size <= pool.limit
    left = [each._measure() for each in served.connections()]
    assert min(sizes) in [size // 20_000 * 20_000 for size in left], "the smallest stay"


async def test_heads_that_do_not_end_count(served):
    pool = served.callers.budget.strangers
    pool.limit = 1 << 20
    for _ in range(40):
        _, writer = await served.client()
        writer.write(b"GET /small HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"y" * 10_000 + b"\r\n")
        writer.write(b"".join(b"X-%d: y\r\n" % number for number in range(200)))
    await eventually(lambda: 0 < len(served.connections()) < 40)
    assert pool.size <= pool.limit


async def test_an_answered_request_counts_no_longer(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.number)
    served.writers.append(writer)
    for _ in range(3):
        writer.write(b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
        with anyio.fail_after(10):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(SIZE)
        await eventually(lambda: served.callers.budget.strangers.size == CONNECTION_TAKES + http.LAST_TAKES)


async def test_rubbish_after_a_request_breaks_nothing(served):
    for after in (b"\0\1\2", b"GET", GET * PIPELINED * 2 + b"\0"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.number)
        served.writers.append(writer)
        writer.write(GET + after)
        with anyio.fail_after(10), contextlib.suppress(ConnectionError):
            await reader.read(1)


async def test_the_head_of_an_answered_request_is_kept_no_longer(served):
    reader, writer = await served.client()
    writer.transport.resume_reading()
    writer.write(GET[:-2] + b"".join(b"X-%d: y\r\n" % number for number in range(1_000)) + b"\r\n")
    with anyio.fail_after(10):
        await reader.readuntil(b"\r\n\r\n")
    (connection,) = served.connections()
    await eventually(lambda: connection._measure() == http.LAST_TAKES)
    assert (connection.headers, connection.scope, connection.cycle.scope) == ([], {}, {})
    writer.write(GET)
    with anyio.fail_after(10):
        await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /small HTTP/1.1\r\n\r\n",
        b"GET /small HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /small HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET /small\r\n\r\n",
    ],
    ids=["no host", "two hosts", "two hosts in HTTP/1.0", "no version"],
)
async def test_a_request_without_a_version_or_with_other_than_one_host_is_refused(served, head):
    reader, writer = await served.client()
    writer.transport.resume_reading()
    writer.write(head)
    with anyio.fail_after(10):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400 ")
        await reader.read()


async def test_a_request_of_http_1_0_needs_no_host(served):
    reader, writer = await served.client()
    writer.transport.resume_reading()
    writer.write(b"GET /small HTTP/1.0\r\n\r\n")
    with anyio.fail_after(10):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after its turn"])
async def test_who_says_that_it_sends_no_more_gets_its_answers(served, waits):
    served.callers.turns.pace = Pace(1.0, 0.0, time.monotonic)
    served.callers.turns.pace.spend(0.2 if waits else 0.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.number)
    writer.write(3 * GET)
    writer.write_eof()
    with anyio.fail_after(10):
        assert (await reader.read()).count(b"HTTP/1.1 404") == 3
    writer.close()


async def test_half_a_request_after_which_nothing_follows_ends_the_connection(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.number)
    writer.write(GET + GET[:-2])
    writer.write_eof()
    with anyio.fail_after(http.REQUEST_WITHIN / 2):
        assert (await reader.read()).count(b"HTTP/1.1 404") == 1
    writer.close()
