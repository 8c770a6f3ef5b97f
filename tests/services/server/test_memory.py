"""What strangers, and peers that do not read, make a server keep: the process's memory stays within the budget."""

import asyncio
import contextlib
import itertools
import os
import re
from collections import defaultdict
from pathlib import Path

import anyio
import grpc
import pytest

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import signalexchange_pb2 as signal_pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceStub
from meshloom_front.budget import STRANGERS
from meshloom_front.http2 import frames
from meshloom_front.http2.headers import encode
from meshloom_front.rpc.messages import framed

pytestmark = [pytest.mark.anyio, pytest.mark.mesh, pytest.mark.slow]
MANAGEMENT, SIGNAL = "/management.ManagementService/", "/signalexchange.SignalExchange/"
SLACK = 40 << 20
"""Bytes for what every connection takes, for what passes through, and for memory that Python keeps for later."""


def memory(process, which="VmRSS"):
    """Bytes that are resident: now, or at most so far (``VmHWM``)."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{which}:\s+(\d+) kB", text)[1]) << 10


def start_of(process):
    """Bytes that are resident now; the most so far is counted from here on."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return memory(process)


class Client:
    """One connection that says what it likes, from an address of its own: each network has its share of CPU time."""

    hosts = itertools.cycle(f"127.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(10_000))

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.streams = itertools.count(1, 2)
        self.windows = defaultdict(lambda: frames.WINDOW)

    @classmethod
    async def open(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(next(cls.hosts), 0)))

    @classmethod
    async def grpc(cls, port, **settings):
        made = await cls.open(port)
        made.say(frames.PREFACE, frames.settings({getattr(frames, name): value for name, value in settings.items()}))
        return made

    def say(self, *said):
        if not self.writer.transport.is_closing():
            self.writer.write(b"".join(said))

    def call(self, method, data=b"", *fields, ended=False):
        """A request with such a body, in frames."""
        stream = next(self.streams)
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode())]
        block = encode([*head, (b"content-type", b"application/grpc"), *fields])
        self.say(frames.head(frames.HEADERS, frames.END_HEADERS, stream, len(block)), block)
        for at in range(0, len(data), frames.LONGEST):
            part = data[at : at + frames.LONGEST]
            last = ended and at + frames.LONGEST >= len(data)
            self.say(frames.head(frames.DATA, frames.END_STREAM if last else 0, stream, len(part)), part)
        return stream

    async def listen(self):
        """Learns how much may be sent on each stream, until the connection ends."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await self.reader.readexactly(frames.HEAD)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == frames.WINDOW_UPDATE:
                    self.windows[int.from_bytes(head[5:9], "big")] += int.from_bytes(payload, "big")

    async def pour(self, stream, data):
        """Sends all of it, as the windows allow."""
        while data and not self.writer.transport.is_closing():
            part = data[: min(frames.LONGEST, self.windows[stream], self.windows[0])]
            data = data[len(part) :]
            self.windows[stream] -= len(part)
            self.windows[0] -= len(part)
            self.say(frames.head(frames.DATA, 0, stream, len(part)), part)
            await anyio.sleep(0 if part else 0.05)


@contextlib.asynccontextmanager
async def crowd():
    """Connections that are closed in the end."""
    made = []
    try:
        yield made
    finally:
        for client in made:
            client.writer.transport.abort()


async def rest(process):
    """Until its memory does not grow any more."""
    before = 0
    with anyio.move_on_after(20):
        while (now := memory(process)) > before + (1 << 19):
            before = now
            await anyio.sleep(2)


async def half_messages(port, clients, tasks):
    """69 connections, each with four halves of a megabyte: 276 MB."""
    half = framed(bytes(1 << 20))[:-1]
    for _ in range(69):
        client = await Client.grpc(port)
        clients.append(client)
        for _ in range(4):
            tasks.start_soon(client.pour, client.call(f"{MANAGEMENT}Login"), half)
        tasks.start_soon(client.listen)


async def job_streams(port, clients, _tasks):
    """500 streams at 300 connections."""
    for _ in range(300):
        client = await Client.grpc(port)
        clients.append(client)
        for _ in range(500):
            client.call(f"{MANAGEMENT}Job")


async def bodies(port, clients, _tasks):
    """2 500 connections, each with a good part of a body."""
    head = b"POST /api/setup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900001\r\n\r\n"
    for _ in range(2_500):
        client = await Client.open(port)
        clients.append(client)
        client.say(head, b" " * 100_000)


async def heads(port, clients, _tasks):
    """3 000 connections, each with most of a long head."""
    for _ in range(3_000):
        client = await Client.open(port)
        clients.append(client)
        client.say(b"GET / HTTP/1.1\r\n", *(b"X-%d: %s\r\n" % (number, b"y" * 100) for number in range(500)))


async def header_blocks(port, clients, _tasks):
    """3 000 connections, each with a block that has not come in whole."""
    for _ in range(3_000):
        client = await Client.grpc(port)
        clients.append(client)
        client.say(frames.head(frames.HEADERS, 0, 1, 1 << 14), bytes(1 << 14))


async def unread_answers(port, clients, _tasks):
    """300 connections, each with 100 requests whose answers nobody reads."""
    for _ in range(300):
        client = await Client.grpc(port, INITIAL_WINDOW_SIZE=0)
        clients.append(client)
        for _ in range(100):
            client.call(f"{MANAGEMENT}GetServerKey", framed(b""), ended=True)


@pytest.mark.parametrize("fill", [half_messages, job_streams, bodies, heads, header_blocks, unread_answers])
async def test_what_strangers_make_a_server_keep_stays_within_their_budget(program, machine, fill):
    server = program().start().set_up()
    one = machine(server.url)
    await one.login(server.setup_key())
    before = start_of(server.process)
    async with crowd() as clients, anyio.create_task_group() as tasks:
        with contextlib.suppress(ConnectionError):
            await fill(server.port, clients, tasks)
        await rest(server.process)
        tasks.cancel_scope.cancel()
        assert memory(server.process, "VmHWM") - before < STRANGERS + SLACK
    await one.login(), "whoever is known is served meanwhile"


async def test_what_waits_for_strangers_who_do_not_read_signal_stays_within_their_budget(program):
    server = program(name="meshloom-signal").start()
    before = start_of(server.process)
    keys = [PrivateKey.of(number.to_bytes(32, "big")).public.text for number in range(1, 1_001)]
    async with crowd() as clients:
        for part in batches(keys):
            client = await Client.grpc(server.port, INITIAL_WINDOW_SIZE=0)
            clients.append(client)
            for key in part:
                client.call(f"{SIGNAL}ConnectStream", b"", (b"x-wiretrustee-peer-id", key.encode()))
        for sender in [await Client.grpc(server.port) for _ in range(10)]:
            clients.append(sender)
            for key in keys[::10]:
                message = signal_pb.EncryptedMessage(key=keys[0], remoteKey=key, body=bytes(60_000))
                for _ in range(3):
                    sender.call(f"{SIGNAL}Send", framed(message.SerializeToString()), ended=True)
        await rest(server.process)
        assert memory(server.process, "VmHWM") - before < STRANGERS + SLACK


def batches(keys):
    return [keys[at : at + 100] for at in range(0, len(keys), 100)]


async def test_maps_for_a_peer_that_does_not_read_are_not_kept_for_its_older_streams(program, machine):
    server = program().start().set_up()
    setup_key = server.setup_key()
    for each in [machine(server.url) for _ in range(100)]:
        await each.login(setup_key)
    key = PrivateKey.of(os.urandom(32))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = ManagementServiceStub(channel)
        box = Box(key, PublicKey.parse((await stub.GetServerKey(pb.Empty())).key), os.urandom)
        login = pb.LoginRequest(setupKey=setup_key).SerializeToString()
        await stub.Login(pb.EncryptedMessage(wgPubKey=key.public.text, body=box.seal(login)))
    before = start_of(server.process)
    async with crowd() as clients:
        client = await Client.grpc(server.port, INITIAL_WINDOW_SIZE=0)
        clients.append(client)
        for _ in range(2_000):
            body = box.seal(pb.SyncRequest().SerializeToString())
            message = pb.EncryptedMessage(wgPubKey=key.public.text, body=body)
            client.call(f"{MANAGEMENT}Sync", framed(message.SerializeToString()), ended=True)
        await rest(server.process)
        assert memory(server.process, "VmHWM") - before < SLACK
