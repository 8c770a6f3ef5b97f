"""One port for gRPC and HTTP, with and without TLS, also while others hold it half open."""

import asyncio
import ssl
import subprocess

import anyio
import grpc
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from meshloom.errors import ConfigError
from meshloom_front.http import http_protocol
from meshloom_front.listening import listen, parse_address
from meshloom_front.port import PortLimits, SharedTCPPort, open_port
from meshloom_front.rpc.call import service, unary
from meshloom_front.rpc.server import RPC
from meshloom_front.tls.certificates import Certificates

pytestmark = pytest.mark.anyio
BIG = 3_000_000


async def hello(request):
    return PlainTextResponse(f"hello {request.client.host} {request.method}")


@pytest.fixture
async def serve():
    """Opens a port; gRPC's ``test.Echo/Say`` answers with the caller's address and what it was sent."""
    stack = []

    async def start(tls=None, limits=None):
        app = Starlette(routes=[Route("/hello", hello)])

        async def say(request, call):
            return call.address.encode() + b" " + request

        rpc = RPC([service("test.Echo", {"Say": unary(say)})])
        port = SharedTCPPort(http_protocol(app), rpc, limits or PortLimits())
        listening = listen("127.0.0.1:0", "listen")
        opened = open_port(port, listening, tls)
        await opened.__aenter__()
        stack.append(opened)
        return listening.getsockname()[1]

    yield start
    for opened in reversed(stack):
        await opened.__aexit__(None, None, None)


OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


async def say(channel, data=b"hi"):
    return await channel.unary_unary("/test.Echo/Say")(data, timeout=10)


async def test_both_protocols_on_one_port(serve):
    port = await serve()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        assert await say(channel) == b"127.0.0.1 hi"
        async with httpx.AsyncClient() as client:
            for _ in range(2):
                answer = await client.get(f"http://127.0.0.1:{port}/hello")
                assert (answer.status_code, answer.text) == (200, "hello 127.0.0.1 GET")
        big = bytes(BIG // 4)
        assert await say(channel, big) == b"127.0.0.1 " + big


async def test_a_first_byte_at_a_time_is_understood(serve):
    port = await serve()
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for byte in b"PUT /hello HTTP/1.1\r\nHost: x\r\n\r\n":  # begins as HTTP/2's preface does
            await stream.send(bytes([byte]))
        assert (await stream.receive()).startswith(b"HTTP/1.1 405")


@pytest.fixture
def certificate(tmp_path):
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run([*made, "-keyout", files[1], "-out", files[0], *subject], check=True, capture_output=True)
    return files


async def test_both_protocols_on_one_port_with_tls(serve, certificate):
    certificates = Certificates(*certificate)
    port = await serve(certificates.context)
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options=OPTIONS) as channel:
        assert await say(channel) == b"127.0.0.1 hi"
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=certificate[0]), http2=False) as client:
        assert (await client.get(f"https://localhost:{port}/hello")).status_code == 200
    certificates.reload()
    certificate[1].write_text("rubbish")
    with pytest.raises(ConfigError, match="tls.certificate"):
        certificates.reload()


async def test_half_open_connections_do_not_keep_others_out(serve):
    port = await serve(limits=PortLimits(connections=500, waiting=50))
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        assert await say(channel) == b"127.0.0.1 hi"
    with anyio.fail_after(5):
        assert await held[0][0].read() == b"", "the oldest gave way"
    for _, writer in held:
        writer.transport.abort()
    await anyio.wait_all_tasks_blocked()


def test_an_address_that_cannot_be_is_said():
    for text in ("80", "host", "host:x", "host:99999"):
        with pytest.raises(ConfigError, match="listen = "):
            parse_address(text, "listen")
    taken = listen("127.0.0.1:0", "listen")
    taken.listen()
    with pytest.raises(ConfigError, match="metrics = .* in use"):
        listen(f"127.0.0.1:{taken.getsockname()[1]}", "metrics")
    taken.close()
