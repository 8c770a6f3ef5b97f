"""The signal service: CPU time of a forwarded message, and how late it comes."""

import asyncio
import itertools
import os
import struct
import time
from statistics import quantiles

import grpc
from crowd import Crowd, run
from server import running_server

from meshloom.protocol.signal_proof import CHALLENGE, PROVES, prove
from meshloom.rpc import signalexchange_pb2 as pb

AGENTS = 100
RATES = (500, 2000)
"""Messages a second; senders keep to the clock, whatever the server does."""
SECONDS = 5
BODY = 600
"""Bytes of an offer, sealed."""
SERVICE = "/signalexchange.SignalExchange"


class Agent:
    """Its stream, proven, and when what came through it was sent."""

    def __init__(self, port, key):
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._send = self._channel.unary_unary(f"{SERVICE}/Send")
        self._connect = self._channel.stream_stream(f"{SERVICE}/ConnectStream")
        self._private, self.key = key, key.public.text
        self.delays = []

    async def connect(self):
        self._stream = self._connect(metadata=(("x-wiretrustee-peer-id", self.key), (PROVES, "1")))
        challenge = dict(await self._stream.initial_metadata())[CHALLENGE]
        await self._stream.write(prove(challenge, self._private, os.urandom).SerializeToString())

    async def listen(self):
        async for message in self._stream:
            sent = struct.unpack_from("d", pb.EncryptedMessage.FromString(message).body)[0]
            self.delays.append(time.monotonic() - sent)

    async def send(self, other):
        body = struct.pack("d", time.monotonic()) + os.urandom(BODY - 8)
        await self._send(pb.EncryptedMessage(key=self.key, remoteKey=other.key, body=body).SerializeToString())

    async def close(self):
        self._stream.cancel()
        await self._channel.close()


async def measure(server):
    async with Crowd(server) as crowd:
        for _ in range(AGENTS):
            await crowd.join()
        keys = [peer.key for peer in crowd.peers]
    empty = server.memory()
    agents = [Agent(server.port, key) for key in keys]
    for agent in agents:
        await agent.connect()
    yield f"memory at rest, {AGENTS} agents connected to signal", (server.memory() - empty) / AGENTS, "MB/agent", ""
    listening = [asyncio.ensure_future(agent.listen()) for agent in agents]
    pairs = itertools.cycle(zip(agents, agents[1:] + agents[:1], strict=True))
    for rate in RATES:
        for agent in agents:
            agent.delays.clear()
        cpu, start, sending = server.cpu(), time.monotonic(), set()
        for number in range(rate * SECONDS):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            one, other = next(pairs)
            sending.add(task := asyncio.ensure_future(one.send(other)))
            task.add_done_callback(sending.discard)
        await asyncio.gather(*sending)
        deadline = time.monotonic() + 10
        while sum(len(agent.delays) for agent in agents) < rate * SECONDS and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        took = time.monotonic() - start
        delays = [delay for agent in agents for delay in agent.delays]
        what = f"signal, {len(delays) / took:.0f} messages/s of {BODY} B between {AGENTS} agents"
        yield what, (server.cpu() - cpu) / len(delays) * 1e6, "CPU-us a message", "<= 200"
        yield f"{what}, p99 of the delay, client included", quantiles(delays, n=100)[98] * 1e3, "ms", "NetBird: 28"
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    for agent in agents:
        await agent.close()


def rows():
    with running_server() as server:
        yield from run(measure(server))
