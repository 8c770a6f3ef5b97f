"""TLS on a port: nothing is read ahead of whom it may cost something, and what records cost is paid for."""

import asyncio
import contextlib
import ssl
import subprocess
import time

import anyio
import pytest
import uvloop

from meshloom.pace import Pace
from meshloom.testing.loops import forgiving
from meshloom_front import callers
from meshloom_front.costs import EVENT
from meshloom_front.http import http_protocol
from meshloom_front.incoming import AT_A_TIME
from meshloom_front.listening import listen
from meshloom_front.port import PortLimits, SharedTCPPort, Upgrades, open_port
from meshloom_front.rpc.server import RPC
from meshloom_front.tls.certificates import Certificates
from meshloom_front.tls.connection import READ, SAYS_IT_LATER, SAYS_LITTLE
from meshloom_front.tls.session import RECORD

pytestmark = pytest.mark.anyio
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 3_000_000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"loop_factory": forgiving(uvloop.Loop if request.param else asyncio.SelectorEventLoop)}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    files = tuple(tmp_path_factory.mktemp("tls") / name for name in ("cert.pem", "key.pem"))
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*made, "-keyout", files[1], "-out", files[0], *named], check=True, capture_output=True)
    return files


async def app(scope, receive, send):
    """Answers with as much as is asked for; takes a body before that, if there is one."""
    while (await receive()).get("more_body"):
        pass
    size = int(scope["path"].strip("/") or 5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": b"x" * size})


class Said(asyncio.BufferedProtocol):
    """What an upgrade leads to: it says again what it is told, with little room for it at a time."""

    def __init__(self):
        self.room = bytearray(100)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.room

    def buffer_updated(self, nbytes):
        self.transport.writelines([b"", bytes(self.room[:nbytes])])


class Port:
    def __init__(self, port, number, trust):
        self.port, self.number, self.trust, self.made = port, number, trust, []

    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, ssl=self.trust)
        self.made.append(writer)
        return reader, writer

    def connection(self):
        """The newest one, at the server's side."""
        return list(self.port.transports)[-1]


@pytest.fixture
async def port(certificate):
    made = SharedTCPPort(http_protocol(app), RPC([]), PortLimits(), Upgrades("/relay", Said))
    listening = listen("127.0.0.1:0", "listen")
    trust = ssl.create_default_context(cafile=certificate[0])
    async with open_port(made, listening, Certificates(*certificate).context):
        yield (opened := Port(made, listening.getsockname()[1], trust))
        for writer in opened.made:
            writer.transport.abort()
    with anyio.fail_after(5):
        while len(made.callers):
            await anyio.sleep(0.005)


async def until(condition):
    """Waits for it."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


@pytest.fixture
def spent(monkeypatch):
    """Seconds that callers have paid."""
    paid = []
    spend = callers.Caller.spend
    monkeypatch.setattr(callers.Caller, "spend", lambda self, seconds: paid.append(seconds) or spend(self, seconds))
    return paid


async def test_what_a_stranger_sends_who_is_held_up_waits_at_its_side(port):
    _, writer = await port.client()
    await until(lambda: port.connection()._session.agreed)
    port.port.callers.turns.pace = Pace(1e-9, 0.0, time.monotonic)
    port.port.callers.turns.pace.spend(1e-6)
    writer.write(HEAD + bytes(LARGE))
    await until(lambda: port.connection()._later)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(port.connection()._later) <= AT_A_TIME
    assert not port.connection().is_reading()


async def test_each_record_is_paid_for_however_little_it_says(port, spent):
    records = 20_000
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = port.trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(1 << 16))
    client.write(HEAD)
    for _ in range(records):
        client.write(b"x")
    sealed = outgoing.read()
    for each in port.port.callers.open:
        each._pace = Pace(1.0, 100.0, time.monotonic)
    spent.clear()
    writer.write(sealed)
    with contextlib.suppress(TimeoutError):
        await until(lambda: sum(spent) >= EVENT * len(sealed) / AT_A_TIME)
    writer.transport.abort()
    assert sum(spent) >= EVENT * len(sealed) / AT_A_TIME


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, LARGE])
async def test_an_answer_of_any_size_comes_whole(port, size):
    reader, writer = await port.client()
    for _ in range(2):
        writer.write(GET.replace(b"/", b"/%d" % size, 1))
        with anyio.fail_after(20):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(size) == b"x" * size


async def test_a_known_caller_is_read_from_in_large_pieces(port):
    _, writer = await port.client()
    writer.write(HEAD)
    await until(lambda: not port.port.waiting)
    connection = port.connection()
    assert len(connection.get_buffer(-1)) == AT_A_TIME
    connection.caller.prove()
    assert len(connection.get_buffer(-1)) == READ


async def test_another_protocol_goes_on_with_a_connection_and_bounds_it_itself(port):
    reader, writer = await port.client()
    await until(lambda: port.connection()._session.agreed)
    port.connection().caller._pace = Pace(1.0, 1.0, time.monotonic)
    said = b"GET /relay HTTP/1.1\r\n" + bytes(1000)
    writer.write(said)
    with anyio.fail_after(10):
        assert await reader.readexactly(len(said)) == said
        port.connection().caller._pace.spend(2.0)
        more = bytes(range(256)) * 400
        writer.write(more)
        assert await reader.readexactly(len(more)) == more


async def spoken(port, reader, writer):
    """Another protocol has heard enough to go on for nothing."""
    writer.write(b"GET /relay HTTP/1.1\r\n" + bytes(1000))
    with anyio.fail_after(10):
        await reader.readexactly(1021)
        for _ in range(3):
            writer.write(bytes(5000))
            await reader.readexactly(5000)


async def test_records_that_say_little_are_paid_for_where_another_protocol_bounds_what_is_said(port, spent):
    reader, writer = await port.client()
    await spoken(port, reader, writer)
    connection = port.connection()
    records = 2 * SAYS_IT_LATER // (23 - SAYS_LITTLE)
    with anyio.fail_after(30):
        for _ in range(records):
            writer.write(b"x")
            await reader.readexactly(1)
        assert len(spent) >= records // 3
        port.port.callers.turns.pace = Pace(1e-9, 0.0, time.monotonic)
        port.port.callers.turns.pace.spend(1e-6)
        writer.write(b"x")
    await until(lambda: connection._later)
    await until(lambda: not connection.is_reading())


async def test_records_that_come_in_pieces_are_not_paid_for_there(port, spent, monkeypatch):
    reader, writer = await port.client()
    await spoken(port, reader, writer)
    monkeypatch.setattr(port.port._rooms, "read", port.port._rooms.read[:500])
    spent.clear()
    for _ in range(20):
        writer.write(bytes(RECORD))
        with anyio.fail_after(10):
            await reader.readexactly(RECORD)
    assert not spent


async def test_who_makes_the_server_answer_and_does_not_read_is_read_from_no_more(port):
    reader, writer = await port.client()
    writer.transport.pause_reading()
    for _ in range(8):
        writer.write(GET.replace(b"/", b"/%d" % LARGE, 1))
    connection = port.connection()
    await until(lambda: connection._is_full)
    await until(lambda: not connection.is_reading())
    writer.transport.resume_reading()
    with anyio.fail_after(20):
        for _ in range(8):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(LARGE)


async def test_who_says_that_nothing_follows_is_told_so(port):
    reader, writer = await port.client()
    writer.write(GET)
    with anyio.fail_after(5):
        await reader.readuntil(b"xxxxx")
        writer.close()
        await writer.wait_closed()
