"""Connections for transports: by name and by hint, through proxies, and what is said where they fail."""

import base64
import contextlib
import logging
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.abc
import pytest

from meshloom import dialing
from meshloom.dialing import client_tls, dial, prepare_stream
from meshloom.errors import ConfigError, ProtocolError, TransportError
from meshloom.testing.ports import free_port
from meshloom.transport import RelayAddress, TransportContext

pytestmark = pytest.mark.anyio


class Proxy:
    """An HTTP proxy that answers CONNECT as told, and then passes everything on."""

    def __init__(self):
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self.requests = []

    async def serve(self, client):
        async with client:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await client.receive()
            self.requests.append(request.decode())
            with contextlib.suppress(anyio.BrokenResourceError):  # who has read enough hangs up
                for byte in self.answer:
                    await client.send(bytes([byte]))
            if b" 200 " not in self.answer or not self.answer.endswith(b"\r\n\r\n"):
                return
            host, _, port = request.split(b" ")[1].decode().rpartition(":")
            target = await anyio.connect_tcp(host.strip("[]"), int(port))
            async with target, anyio.create_task_group() as tasks:
                tasks.start_soon(self.pass_on, client, target)
                await self.pass_on(target, client)

    async def pass_on(self, source, target):
        async for data in source:
            await target.send(data)


async def echo(client):
    async with client:
        async for data in client:
            await client.send(data)


@pytest.fixture
async def listening():
    """Makes servers; gives their ports."""
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:

        async def listen(handle, host="127.0.0.1"):
            listener = await stack.enter_async_context(
                await anyio.create_tcp_listener(local_host=host, local_port=free_port())
            )
            tasks.start_soon(listener.serve, handle)
            return dict(listener.extra_attributes)[anyio.abc.SocketAttribute.local_port]()

        yield listen
        tasks.cancel_scope.cancel()


async def answers(made):
    stream = await anyio.abc.SocketStream.from_socket(made)
    async with stream:
        await stream.send(b"hello")
        return await stream.receive() == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_relay_is_reached_by_each_family(listening, host):
    port = await listening(echo, host)
    assert await answers(await dial(RelayAddress(host, port, tls=False), TransportContext()))


async def test_a_hint_is_used_in_place_of_the_name(listening):
    port = await listening(echo)
    address = RelayAddress("nowhere.invalid", port, tls=True, ip="127.0.0.1")
    assert await answers(await dial(address, TransportContext()))


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(listening, monkeypatch):
    port = await listening(echo)
    with socket.socket() as full:  # its backlog is full, so that nobody is answered
        full.bind(("127.0.0.2", port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.2", port))

        async def resolve(host, port):
            return [(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port))]

        monkeypatch.setattr(dialing, "_resolve", resolve)
        with anyio.fail_after(10):
            assert await answers(await dial(RelayAddress("relay.test", port, tls=False), TransportContext()))
        for each in waiting:
            each.close()


async def test_where_nobody_listens_the_error_names_the_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = RelayAddress("127.0.0.1", probe.getsockname()[1], tls=False)
        with pytest.raises(TransportError, match=str(address)):
            await dial(address, TransportContext())


async def test_a_name_that_there_is_not_is_said():
    with pytest.raises(TransportError, match=r"rel://nowhere\.invalid:80 cannot be reached"):
        await dial(RelayAddress("nowhere.invalid", 80, tls=False), TransportContext())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_through_a_proxy(listening, host):
    proxy = Proxy()
    port, proxy_port = await listening(echo, host), await listening(proxy.serve)
    context = TransportContext(proxy=f"http://user%40x:pass%3Aword@127.0.0.1:{proxy_port}")
    assert await answers(await dial(RelayAddress(host, port, tls=False), context))
    shown = f"[{host}]" if ":" in host else host
    credentials = base64.b64encode(b"user@x:pass:word").decode()
    assert proxy.requests == [
        f"CONNECT {shown}:{port} HTTP/1.1\r\nHost: {shown}:{port}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
    ]


async def test_a_proxy_is_told_the_name_and_resolves_it(listening):
    proxy = Proxy()
    proxy.answer = b"HTTP/1.1 502 No such host\r\n\r\n"
    context = TransportContext(proxy=f"http://127.0.0.1:{await listening(proxy.serve)}")
    with pytest.raises(TransportError, match="502 No such host"):
        await dial(RelayAddress("relay.invalid", 443, tls=True), context)
    assert proxy.requests == ["CONNECT relay.invalid:443 HTTP/1.1\r\nHost: relay.invalid:443\r\n\r\n"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "user and a password"),
        (b"HTTP/1.0 403 Forbidden\r\nX: y\r\n\r\n", "403 Forbidden"),
        (b"rubbish\r\n\r\n", "refuses"),
        (b"HTTP/1.1\r\n\r\n", "refuses"),
        (b"", "no end"),
        (b"HTTP/1.1 200 OK\r\n", "no end"),
        (b"HTTP/1.1 403 x\r\n" + b"a" * 20_000, "no end"),
    ],
)
async def test_what_a_proxy_refuses_is_said_and_its_password_is_not(listening, answer, said):
    proxy = Proxy()
    proxy.answer = answer
    context = TransportContext(proxy=f"http://user:hushhush@127.0.0.1:{await listening(proxy.serve)}")
    with anyio.fail_after(20), pytest.raises(TransportError, match=said) as caught:
        await dial(RelayAddress("127.0.0.1", 9, tls=False), context)
    assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1", "127.0.0.1:3128", "http://", "http://[::1", "http://x:99999"]
)
async def test_a_proxy_that_cannot_be_used_is_said(proxy):
    with pytest.raises(TransportError, match="proxy"):
        await dial(RelayAddress("127.0.0.1", 9, tls=False), TransportContext(proxy=proxy))


def test_extra_roots_that_are_no_certificates_are_said():
    with pytest.raises(ConfigError, match="PEM"):
        client_tls(TransportContext(extra_roots=b"rubbish"))


def test_a_kernel_that_gives_too_little_is_told_of_once(caplog, monkeypatch, tmp_path):
    small = tmp_path / "tcp_wmem"
    small.write_text("4096 16384 32768\n")
    monkeypatch.setattr(dialing, "LIMITS", {"send": (socket.SO_SNDBUF, 9999, small)})
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with socket.socket() as made:
                prepare_stream(made, 1 << 20)
    (record,) = caplog.records
    assert "32768 bytes of send buffer where 1048576 are wanted" in record.getMessage()
    assert str(small) in record.getMessage()


def test_a_kernel_that_gives_enough_sizes_buffers_itself(monkeypatch, tmp_path):
    large = tmp_path / "tcp_wmem"
    large.write_text("4096 16384 8388608\n")
    monkeypatch.setattr(dialing, "LIMITS", {"send": (socket.SO_SNDBUF, socket.SO_SNDBUF, Path(large))})
    with socket.socket() as made:
        before = made.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        prepare_stream(made, 1 << 20)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("rel://relay.example", "relay.example", 80, False),
        ("rels://relay.example", "relay.example", 443, True),
        ("rels://relay.example:33080/anything?x", "relay.example", 33080, True),
        ("rel://[2001:db8::1]:80", "2001:db8::1", 80, False),
    ],
)
def test_addresses_of_relays(url, host, port, tls):
    assert RelayAddress.parse(url, "192.0.2.1") == RelayAddress(host, port, tls, "192.0.2.1")


@pytest.mark.parametrize(
    "url", ["", "relay.example:80", "https://x", "rel://", "rel://x:0", "rel://x:y", "rel://[x", "rel://:80"]
)
def test_what_is_no_address_of_a_relay(url):
    with pytest.raises(ProtocolError, match="no address of a relay"):
        RelayAddress.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "rel://relay.example\n",
        "rel://relay.example/\x1b[2J",
        "rel://relay.example/\u202e",
        "rel://user:word@relay.example",
        "rel://a b",
        "rel://a|b",
        "rel://[::1%25eth0]:80",
        "rel://" + "a" * 600,
    ],
)
def test_what_would_harm_a_log_or_a_terminal_is_no_address_of_a_relay(url):
    with pytest.raises(ProtocolError, match="no address of a relay") as caught:
        RelayAddress.parse(url)
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()
