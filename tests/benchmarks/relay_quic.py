"""The relay over QUIC: a real process, and what forwarding a packet costs it in CPU time.

The load comes from another process of its own (this file, run as a program), through the same transport: it keeps a
bounded number of packets under way between pairs of peers, and counts those that arrive.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from server import BIN, Process, free_port

import meshloom_transport_quic
from meshloom.errors import TransportError
from meshloom.model.keys import PrivateKey
from meshloom.protocol.relay import Auth, Kind, encode, packet_head, relay_peer_id
from meshloom.protocol.relay_token import issue_token, join_token
from meshloom.transport import Receiver, RelayAddress, TransportContext

SECRET = "a secret of this benchmark"
UNDER_WAY = 128
"""Packets of a pair that are sent and not yet received, at most; those that are lost count until the next second."""
SECONDS = float(os.environ.get("MESHLOOM_BENCH_SECONDS", "4"))
WITHIN = 20


class Relay(Process):
    """``meshloom-relay`` alone."""

    def __init__(self, folder, port):
        environment = {**os.environ, "MESHLOOM_RELAY_SECRET": SECRET, "MESHLOOM_TRANSPORT_BACKENDS": "quic"}
        where = ("--listen", f"127.0.0.1:{port}", "--data-dir", folder / "data", "--metrics", "")
        self.process = subprocess.Popen([BIN / "meshloom-relay", *where, "--log-level", "error"], env=environment)
        super().__init__(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Peer(Receiver):
    """A peer in the load's process."""

    def __init__(self):
        self.id = relay_peer_id(PrivateKey.of(os.urandom(32)).public)
        self.connection, self.is_known = None, asyncio.Event()
        self.sent = self.received = 0

    async def join(self, transport, address):
        deadline = time.monotonic() + WITHIN
        while True:
            try:
                self.connection = await transport.connect(address, self)
                break
            except TransportError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
        token = join_token(*issue_token(SECRET, int(time.time()) + 3600))
        self.connection.send(encode(Auth(self.id, token)))
        async with asyncio.timeout(WITHIN):
            await self.is_known.wait()

    def message_received(self, message):
        if message[1] == Kind.PACKET:
            self.received += 1
        else:
            self.is_known.set()

    def connection_lost(self, reason):
        raise ConnectionError(reason)


async def load(port, pairs, size, seconds):
    """Keep packets under way for a while; returns how many arrived."""
    (backend,) = meshloom_transport_quic.meshloom_transports()
    async with backend.open(backend.options(), TransportContext()) as transport:
        left, right = [Peer() for _ in range(pairs)], [Peer() for _ in range(pairs)]
        for peer in (*left, *right):
            await peer.join(transport, RelayAddress("127.0.0.1", port, tls=False))
        while min(peer.connection.max_message_size for peer in (*left, *right)) < size + 38:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        print("ready", flush=True)
        packet, until, forgiven = bytes(size), time.monotonic() + seconds, time.monotonic() + 1
        while (now := time.monotonic()) < until:
            for sender, receiver in zip(left, right, strict=True):
                head = packet_head(receiver.id)
                while sender.sent - receiver.received < UNDER_WAY and sender.connection.send(head, packet):
                    sender.sent += 1
                if now > forgiven:
                    sender.sent = receiver.received
            if now > forgiven:
                forgiven = now + 1
            await asyncio.sleep(0)
        arrived = sum(peer.received for peer in right)
        print(json.dumps(arrived), flush=True)
        os._exit(0)


def forwarding(pairs, size):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        relay = Relay(Path(folder), port)
        try:
            arguments = map(str, (port, pairs, size, SECONDS))
            with subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True) as made:
                made.stdout.readline()
                before, start = relay.cpu(), time.monotonic()
                arrived = json.loads(made.stdout.readline())
                spent, took = relay.cpu() - before, time.monotonic() - start
        finally:
            relay.stop()
    return spent / arrived * 1e6, arrived / took


def rows():
    for size, pairs in ((1100, 1), (1100, 4), (1312, 1), (1312, 4), (1312, 16)):
        each, rate = forwarding(pairs, size)
        name = f"quic: {pairs} pair{'s' if pairs > 1 else ''}, {size} B"
        yield name, each, "CPU-us/packet", "<= 50" if size == 1100 else ""
        yield f"{name}: forwarded", rate / 1000, "k packets/s", ""


if __name__ == "__main__":
    port, pairs, size, seconds = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load(int(port), int(pairs), int(size), float(seconds)))
