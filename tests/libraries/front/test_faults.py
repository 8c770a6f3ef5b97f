"""Strangers at the port: slow, endless, or no request at all. Whoever behaves is served meanwhile."""

import asyncio
import contextlib
import ssl
import subprocess

import anyio
import grpc
import httpx
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from meshloom.errors import ConfigError
from meshloom.testing.loops import forgiving
from meshloom_front import callers
from meshloom_front import port as port_module
from meshloom_front.config import TLS, ServerConfig
from meshloom_front.http import LONGEST_HEAD, http_protocol
from meshloom_front.listening import listen
from meshloom_front.port import PortLimits, SharedTCPPort, open_port
from meshloom_front.rpc.server import RPC
from meshloom_front.running import Parts, serve
from meshloom_front.tls.certificates import Certificates

pytestmark = pytest.mark.anyio
SOON = 0.3
"""What a request may take in these tests, instead of half a minute."""
GOOD = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
BEGINNINGS = st.sampled_from([GOOD, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST /echo HTTP/1.1\r\n"])


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"loop_factory": forgiving(uvloop.Loop if request.param else asyncio.SelectorEventLoop)}


async def hello(_request):
    return PlainTextResponse("hello")


async def echo(request):
    try:
        return PlainTextResponse(str(len(await request.body())))
    except ClientDisconnect:
        return PlainTextResponse("nobody reads this")


class Front:
    """A port of the tests, and what its connections say."""

    def __init__(self, port, number):
        self.port, self.number = port, number

    async def talk(self, *parts, tls=None):
        """Say that, and return what is answered until the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, ssl=tls)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            with anyio.fail_after(10):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    async def endless(self, start, again):
        """Say the start, and then the same for ever; returns how many bytes were taken before the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        said = 0
        try:
            writer.write(start)
            with anyio.fail_after(10):
                while not reader.at_eof():
                    writer.write(again)
                    said += len(again)
                    await writer.drain()
                    await asyncio.sleep(0)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return said

    async def is_there(self, scheme="http", **how):
        async with httpx.AsyncClient(**how) as client:
            return (await client.get(f"{scheme}://127.0.0.1:{self.number}/hello")).text == "hello"


@pytest.fixture
async def front():
    async with contextlib.AsyncExitStack() as stack:

        async def start(tls=None, limits=None, within=SOON):
            app = Starlette(routes=[Route("/hello", hello), Route("/echo", echo, methods=["POST"])])
            port = SharedTCPPort(http_protocol(app, within), RPC([]), limits or PortLimits())
            listening = listen("127.0.0.1:0", "listen")
            number = listening.getsockname()[1]
            await stack.enter_async_context(open_port(port, listening, tls))
            return Front(port, number)

        yield start


@pytest.fixture
def certificate(tmp_path):
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run([*made, "-keyout", files[1], "-out", files[0], *subject], check=True, capture_output=True)
    return files


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /hello HT",
        b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        GOOD + b"GET /hello HT",
    ],
    ids=lambda begun: repr(begun[-12:]),
)
async def test_a_request_that_is_not_finished_ends_its_connection(front, begun):
    made = await front()
    answered = await made.talk(begun)
    assert answered.count(b"hello") == begun.count(GOOD)
    assert len(made.port.http) == 0


async def test_an_empty_line_does_not_keep_a_connection(front):
    made = await front()
    reader, writer = await asyncio.open_connection("127.0.0.1", made.number)
    writer.write(GOOD)
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
    writer.write(b"\r\n")
    with anyio.fail_after(4), contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.transport.abort()


async def test_a_drop_now_and_then_does_not_keep_a_connection(front, monkeypatch):
    monkeypatch.setattr(callers, "BURST", 100.0)  # else what it costs would end its sending, not what it says
    made = await front()
    assert await made.endless(b"GET /hello HTTP/1.1\r\n", b"X: y\r\n") < 4 * LONGEST_HEAD


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"GET /", b"x" * 4096),
        (b"GET /hello HTTP/1.1\r\nX: ", b"x" * 4096),
        (b"GET /hello HTTP/1.1\r\n", b"X-More: of it\r\n" * 200),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 4096),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: of it\r\n" * 200),
        (b"", b"\r\n" * 2048),
    ],
    ids=["address", "field", "fields", "chunk's extension", "trailers", "empty lines"],
)
async def test_a_request_without_end_is_not_kept(front, start, again):
    made = await front(within=30)
    sent = await made.endless(start, again)
    assert sent < 16 << 20, "what the kernel's buffers hold, and no more"
    assert await made.is_there()


async def test_a_request_with_much_that_is_allowed_is_answered(front):
    made = await front()
    body = b"x" * 900_000
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900000\r\nX-Long: " + b"y" * 30_000
    assert (await made.talk(head + b"\r\n\r\n", body)).endswith(b"900000")


async def test_requests_that_follow_each_other_are_all_answered(front):
    made = await front(within=5)
    last = GOOD.replace(b"Host: x", b"Host: x\r\nConnection: close")
    assert (await made.talk(GOOD * 20 + last)).count(b"hello") == 21


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.tuples(BEGINNINGS, st.binary()).map(b"".join))
async def test_rubbish_hurts_nobody(front_once, data):
    _, writer = await asyncio.open_connection("127.0.0.1", front_once.number)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    writer.transport.abort()
    assert await front_once.is_there()


@pytest.fixture
async def front_once(front):
    return await front()


async def test_connections_that_ask_for_nothing_give_way_to_others(front):
    made = await front(limits=PortLimits(connections=20, waiting=10), within=10)
    held = [await asyncio.open_connection("127.0.0.1", made.number) for _ in range(30)]
    for _, writer in held:
        writer.write(b"GET /hello")
    assert await made.is_there(), "whoever asks for something is let in"
    with anyio.fail_after(5):
        ended = [reader for reader, _ in held if not await is_open(reader)]
    assert len(made.port.http) <= 20
    assert len(ended) >= 10
    for _, writer in held:
        writer.transport.abort()
    while len(made.port.http):
        await anyio.sleep(0.01)
    assert await made.is_there()


async def is_open(reader):
    try:
        await asyncio.wait_for(reader.read(1), 0.1)
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return False


async def test_half_open_handshakes_of_tls_keep_nobody_out(front, certificate):
    made = await front(Certificates(*certificate).context, PortLimits(connections=500, waiting=50))
    held = [await asyncio.open_connection("127.0.0.1", made.number) for _ in range(200)]
    context = ssl.create_default_context(cafile=certificate[0])
    assert await made.is_there("https", verify=context)
    with anyio.fail_after(5):
        assert await held[0][0].read() == b"", "the oldest gave way"
    for _, writer in held:
        writer.transport.abort()


async def test_a_handshake_that_is_not_finished_ends(front, certificate, monkeypatch):
    monkeypatch.setattr(port_module, "FIRST_BYTES_WITHIN", SOON)
    made = await front(Certificates(*certificate).context)
    assert await made.talk(b"\x16\x03\x01\x02\x00") == b""
    assert await made.talk() == b""
    assert not made.port.waiting


async def test_who_does_not_speak_tls_is_sent_away(front, certificate):
    made = await front(Certificates(*certificate).context)
    assert b"hello" not in await made.talk(GOOD)
    assert await made.is_there("https", verify=ssl.create_default_context(cafile=certificate[0]))


async def test_first_bytes_that_come_with_the_handshakes_end_are_not_lost(front, certificate):
    made = await front(Certificates(*certificate).context, within=5)
    context = ssl.create_default_context(cafile=certificate[0])
    request = GOOD.replace(b"Host: x", b"Host: x\r\nConnection: close")
    for _ in range(20):
        assert (await made.talk(request, tls=context)).endswith(b"hello")


def test_limits_fit_the_files_that_may_be_open():
    assert PortLimits.that_fit(65_536) == PortLimits()
    assert PortLimits.that_fit(1024) == PortLimits(768, 192)
    assert PortLimits.that_fit(100).connections > 0


async def test_half_a_table_of_tls_is_refused(certificate):
    for table, said in (
        (TLS(certificate=certificate[0]), "tls.certificate is given without tls.key"),
        (TLS(key=certificate[1]), "tls.key is given without tls.certificate"),
    ):
        with pytest.raises(ConfigError, match=said):
            await serve(ServerConfig(tls=table), Parts(registry=None))


async def test_grpcs_side_ends_one_that_says_nothing_after_its_preface(front):
    made = await front()
    reader, writer = await asyncio.open_connection("127.0.0.1", made.number)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64)
    with anyio.fail_after(15), contextlib.suppress(ConnectionError):
        await reader.read()
    writer.transport.abort()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{made.number}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/nothing.There/Is")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
