"""What one connection of a stranger can cost a server in CPU time, whatever it says, as fast as it can."""

import asyncio
import itertools
import os
import subprocess
import time
from tempfile import TemporaryDirectory

import grpc
import uvloop
from server import TRUST_ALL, running_server

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import signalexchange_pb2 as signal_pb
from meshloom_front.http2 import frames
from meshloom_front.http2.headers import encode
from meshloom_front.rpc.messages import framed

WARM = 4
"""Seconds until what a connection may take at once is used up."""
CROWD, DRAINED = 100, 30
"""Strangers, and seconds, that use up before what a network may take at once: the rows are for long."""
SECONDS = 8
AT_ONCE = 40
MANAGEMENT, SIGNAL = "/management.ManagementService/", "/signalexchange.SignalExchange/"
GOAL = "<= 5"


class Calls:
    """Calls of gRPC on one connection, some at a time."""

    def __init__(self, path, message, *fields):
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode())]
        self._block = encode([*head, (b"content-type", b"application/grpc"), *fields])
        self._body = framed(message)

    async def say(self, reader, writer):
        streams = itertools.count(1, 2)
        writer.write(frames.PREFACE + frames.settings({}) + window(0, 1 << 30))
        while True:
            for stream in itertools.islice(streams, AT_ONCE):
                writer.write(frames.head(frames.HEADERS, frames.END_HEADERS, stream, len(self._block)) + self._block)
                writer.write(frames.head(frames.DATA, frames.END_STREAM, stream, len(self._body)) + self._body)
            ended = 0
            while ended < AT_ONCE:
                head = await reader.readexactly(frames.HEAD)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                ended += head[3] in (frames.HEADERS, frames.RST_STREAM) and bool(head[4] & 1 or head[3] == 3)


class Frames:
    """Frames that are said again and again; nothing is waited for."""

    def __init__(self, *said):
        self._said = said

    async def say(self, reader, writer):
        writer.write(frames.PREFACE + frames.settings({}))
        await pour(reader, writer, itertools.cycle(self._said))


class Blocks:
    """Requests whose header blocks cost as much as they can."""

    def __init__(self, block):
        self._block = block

    async def say(self, reader, writer):
        writer.write(frames.PREFACE + frames.settings({}))
        heads = (frames.head(frames.HEADERS, 5, stream, len(self._block)) for stream in itertools.count(1, 2))
        await pour(reader, writer, (head + self._block for head in heads))


class Text:
    """Requests of HTTP/1.1, each after the answer to the one before."""

    def __init__(self, *lines, body=b""):
        self._said = b"\r\n".join([*lines, b"Host: x", b"Content-Length: %d" % len(body), b"", b""]) + body

    async def say(self, reader, writer):
        while True:
            writer.write(self._said)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))


class OneByOne:
    """A request that comes a byte at a time."""

    async def say(self, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        while True:
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0)


class Again:
    """Connections that say something and end, one after the other."""

    def __init__(self, said=b"", until=b""):
        self._said, self._until = said, until

    async def say(self, reader, writer):
        writer.write(self._said)
        if self._until:
            await reader.readuntil(self._until)


def window(stream, increment):
    return frames.head(frames.WINDOW_UPDATE, 0, stream, 4) + increment.to_bytes(4, "big")


async def pour(reader, writer, said):
    """Say all that, as far as it is taken, and read what comes."""
    for part in said:
        if writer.transport.is_closing() or reader.at_eof():
            return
        writer.write(part)
        if writer.transport.get_write_buffer_size() > 1 << 14:
            await writer.drain()
        if reader._buffer:
            await reader.read(1 << 20)


async def stranger(port, entry, tls, until):
    """Connects, again where the server ends it, and says what it has to say."""
    while time.monotonic() < until:
        try:
            async with asyncio.timeout_at(until):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 20)
                try:
                    await entry.say(reader, writer)
                finally:
                    writer.transport.abort()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            await asyncio.sleep(0)


async def server_key(port):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = await channel.unary_unary(f"{MANAGEMENT}GetServerKey")(b"")
    return PublicKey.parse(pb.ServerKeyResponse.FromString(answer).key)


def entries(key):
    """By their names."""
    mine = PrivateKey.of(os.urandom(32))
    sealed = Box(mine, key, os.urandom).seal(pb.LoginRequest(setupKey="00000000").SerializeToString())
    login = pb.EncryptedMessage(wgPubKey=mine.public.text, body=sealed).SerializeToString()
    garbage = pb.EncryptedMessage(wgPubKey=mine.public.text, body=os.urandom(500)).SerializeToString()
    offer = signal_pb.EncryptedMessage(key=mine.public.text, remoteKey=mine.public.text, body=os.urandom(600))
    peer = b"x-wiretrustee-peer-id", mine.public.text.encode()
    upgrade = b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"
    nonce = b"Sec-WebSocket-Key: " + b"A" * 22 + b"=="
    shake = b"\r\n".join([b"GET /relay HTTP/1.1", b"Host: x", *upgrade, nonce, b"", b""])
    ping = frames.head(frames.PING, 0, 0, 8) + bytes(8)
    yield "GetServerKey", Calls(f"{MANAGEMENT}GetServerKey", b"")
    yield "isHealthy", Calls(f"{MANAGEMENT}isHealthy", b"")
    yield "an unknown method", Calls("/nothing.There/Is", b"")
    yield "Login, not sealed", Calls(f"{MANAGEMENT}Login", garbage)
    yield "Login, sealed, no setup key", Calls(f"{MANAGEMENT}Login", login)
    yield "SyncMeta of a peer that is not known", Calls(f"{MANAGEMENT}SyncMeta", login)
    yield "Sync of a peer that is not known", Calls(f"{MANAGEMENT}Sync", login)
    yield "Job, not sealed", Calls(f"{MANAGEMENT}Job", garbage)
    yield "signal's Send to nobody", Calls(f"{SIGNAL}Send", offer.SerializeToString())
    yield "signal's ConnectStream", Calls(f"{SIGNAL}ConnectStream", b"", peer)
    yield "PING", Frames(ping)
    yield "SETTINGS", Frames(frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}))
    yield "table-size updates", Blocks(b"\x20" * 16_000)
    yield "many small fields", Blocks((b"\x40\x01a\x00") * 490)
    yield "long Huffman codes", Blocks(b"\x00\x01a\xff" + b"\xf1\x7c" + b"\xff\xff\xff\xea" * 4_000)
    yield "a byte at a time", OneByOne()
    yield "GET /api/instance", Text(b"GET /api/instance HTTP/1.1")
    yield "GET of what is not there", Text(b"GET /nothing HTTP/1.1")
    yield "GET with a wrong token", Text(b"GET /api/peers HTTP/1.1", b"Authorization: Token nbp_" + b"x" * 36)
    yield (
        "POST /api/setup",
        Text(b"POST /api/setup HTTP/1.1", b"Content-Type: application/json", body=b"{}" + b" " * 500),
    )
    yield "GET /api/openapi.json", Text(b"GET /api/openapi.json HTTP/1.1")
    yield "a new connection each time", Again(b"GET /nothing HTTP/1.1\r\n\r\n", b"\r\n\r\n")
    yield "a WebSocket upgrade each time", Again(shake, b"\r\n\r\n")


async def cost(server, entry, tls=None):
    """Per cent of a core."""
    task = asyncio.create_task(stranger(server.port, entry, tls, time.monotonic() + WARM + SECONDS))
    await asyncio.sleep(WARM)
    cpu, start = server.cpu(), time.monotonic()
    await task
    return (server.cpu() - cpu) / (time.monotonic() - start) * 100


def certificate(folder):
    """A certificate for loopback and its key."""
    files = f"{folder}/cert.pem", f"{folder}/key.pem"
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run([*made, "-keyout", files[1], "-out", files[0], "-subj", "/CN=x"], check=True, capture_output=True)
    return files


async def drain(server, entry, tls=None):
    """Use up what a network may take at once."""
    until = time.monotonic() + DRAINED
    await asyncio.gather(*(stranger(server.port, entry, tls, until) for _ in range(CROWD)))


def rows():
    with running_server() as server:
        in_loop(drain(server, Text(b"GET /api/instance HTTP/1.1")))
        for name, entry in entries(asyncio.run(server_key(server.port))):
            yield f"one stranger: {name}", in_loop(cost(server, entry)), "% of a core", GOAL
    with TemporaryDirectory() as folder, running_server(certificate(folder)) as server:
        in_loop(drain(server, Again(), TRUST_ALL))
        handshakes = in_loop(cost(server, Again(), TRUST_ALL))
        yield "one stranger: a TLS handshake each time", handshakes, "% of a core", GOAL


def in_loop(running):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(running)
