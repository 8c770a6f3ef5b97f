"""The signal service on a port of its own, and agents and strangers with connections of their own."""

import asyncio
import os

import anyio
import attrs
import grpc
import pytest
from prometheus_client import CollectorRegistry

from meshloom.model.keys import PrivateKey
from meshloom.protocol.signal_proof import CHALLENGE, PROVES, prove
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom.rpc.signalexchange_pb2_grpc import SignalExchangeStub
from meshloom_front.budget import Budget
from meshloom_front.callers import Callers
from meshloom_front.forwarded import NOBODY
from meshloom_front.rpc.server import RPC
from meshloom_signal.service import PEER, REGISTERED, REPLACED, SignalService

OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
KEYS = {name: PrivateKey.of(name.encode() * 32) for name in "ABC"}
A, B, C = (key.public.text for key in KEYS.values())
PRIVATE = {key.public.text: key for key in KEYS.values()}


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def counted(registry):
    """Reads a counter of the service."""

    def read(name, reason=None):
        labels = {} if reason is None else {"reason": reason}
        return registry.get_sample_value(f"meshloom_signal_{name}_total", labels)

    return read


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@attrs.define
class Peers:
    """What a server knows of keys."""

    known: set = attrs.Factory(lambda: {A, B, C})
    addresses: dict = attrs.Factory(dict)
    proving: set = attrs.Factory(set)
    are_registered: bool = True

    def knows(self, key):
        return key in self.known

    def address(self, key):
        return self.addresses.get(key, "")

    def needs_proof(self, key):
        return key in self.proving


@pytest.fixture
def registered():
    """Three peers, of which management knows nothing else."""
    return Peers()


@pytest.fixture
def peers():
    """None: everybody may use the service."""


@pytest.fixture
def budget():
    """What all connections together may make the server hold."""
    return Budget()


@pytest.fixture
def proxies():
    """The proxies that are believed: none."""
    return NOBODY


@pytest.fixture
def callers(budget, proxies):
    """All connections of the server."""
    return Callers(budget, proxies=proxies)


@pytest.fixture
async def served(registry, peers, clock, callers):
    """The service, and the port that it listens on."""
    service = SignalService(registry, peers, clock=clock)
    rpc = RPC([service.methods()], callers)
    server = await asyncio.get_running_loop().create_server(rpc, "127.0.0.1", 0)
    yield service, server.sockets[0].getsockname()[1]
    server.close()
    service.stop()
    await rpc.stop(grace=1)
    with anyio.fail_after(5):
        while len(rpc):
            await anyio.sleep(0.005)


class Wire:
    """A connection to the service from an address of its own, which a test can cut silently."""

    def __init__(self, port, address):
        self._port, self._address = port, address
        self._ends, self._closed = [], asyncio.Event()
        self.is_cut = False

    async def open(self):
        """The port to connect to."""
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    def cut(self):
        """Nothing passes any more, and nobody is told."""
        self.is_cut = True

    async def _join(self, *near):
        far = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._address, 0))
        self._ends += [near[1], far[1]]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass, near[0], far[1])
            tasks.start_soon(self._pass, far[0], near[1])

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                if self.is_cut:
                    await self._closed.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    def close(self):
        self._server.close()
        self._closed.set()
        for each in self._ends:
            each.transport.abort()


class Agent:
    """A connection to the service, with streams and messages on it."""

    def __init__(self, channel, wire=None):
        self.stub = SignalExchangeStub(channel)
        self.raw = channel.unary_unary("/signalexchange.SignalExchange/Send")
        self._wire = wire

    def cut(self):
        self._wire.cut()

    def open(self, key, *metadata):
        """A stream, of which nothing has come yet."""
        return self.stub.ConnectStream(metadata=((PEER, key), *metadata))

    async def stream(self, key, *metadata):
        """A stream that was accepted, as an unmodified client opens it."""
        call = self.open(key, *metadata)
        with anyio.fail_after(5):
            assert dict(await call.initial_metadata())[REGISTERED] == "1"
        return call

    async def proven(self, key, by=None):
        """A stream of an agent that proves its key."""
        call = await self.stream(key, (PROVES, "1"))
        challenge = dict(await call.initial_metadata())[CHALLENGE]
        proof = prove(challenge, PRIVATE[by or key], os.urandom)
        proof.key = key
        await call.write(proof)
        return call

    async def refused(self, key, *metadata):
        """The status with which a stream is ended."""
        call = self.open(key, *metadata)
        with anyio.fail_after(5):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                while await call.read() is not grpc.aio.EOF:
                    pass
            return caught.value.code()

    async def send(self, sender, recipient, body=b"sealed"):
        await self.stub.Send(pb.EncryptedMessage(key=sender, remoteKey=recipient, body=body))

    async def send_by(self, address, sender, recipient, body=b"sealed"):
        """A message that comes by a proxy, which names that address."""
        message = pb.EncryptedMessage(key=sender, remoteKey=recipient, body=body)
        await self.stub.Send(message, metadata=(("x-forwarded-for", address),))

    async def refused_message(self, sender, recipient):
        """The status with which a message is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.send(sender, recipient)
        return caught.value.code()


@pytest.fixture
async def connect(served):
    """Makes connections."""
    open_channels, wires = [], []

    async def made(address="127.0.0.1"):
        wires.append(wire := Wire(served[1], address))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{await wire.open()}", options=OPTIONS)
        open_channels.append(channel)
        return Agent(channel, wire)

    yield made
    for channel in open_channels:
        await channel.close()
    for wire in wires:
        wire.close()


@pytest.fixture
async def signal(connect, served):
    """A stub of the service, and the service."""
    return (await connect()).stub, served[0]


@pytest.fixture
def stream():
    """Opens the stream of the agent with a key."""

    async def opened(stub, key):
        call = stub.ConnectStream(metadata=((PEER, key),))
        with anyio.fail_after(5):
            assert dict(await call.initial_metadata())[REGISTERED] == "1"
        return call

    return opened


@pytest.fixture
def eventually():
    """Waits for a condition."""

    async def until(condition):
        with anyio.fail_after(5):
            while not condition():
                await anyio.sleep(0.005)

    return until


@pytest.fixture
def hear():
    """Reads the body of a stream's next message; None at its end, also where another one has taken its place."""

    async def read(call):
        try:
            with anyio.fail_after(5):
                message = await call.read()
        except grpc.aio.AioRpcError as error:
            if error.details() != REPLACED:
                raise
            return None
        return None if message is grpc.aio.EOF else message.body

    return read
