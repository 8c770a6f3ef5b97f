"""A stranger's one connection to a relay, without a token: what CPU it can cost while it lasts.

A connection that has not shown a token lasts ten seconds at most; the figure is the CPU time in that time, as a share
of a core. By WebSocket it sends pings as fast as they are taken, by QUIC packets that are full of pings, at a rate.
What receiving as many packets costs that belong to no connection is a row of its own.
"""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch
from server import BIN, Process, free_port

from meshloom.testing.raw_websocket import PING, raw_client
from meshloom.transport import RelayAddress

SECONDS = 10.0
"""Which a connection lasts before it has to have shown a token."""
PACKETS = 1000
"""QUIC packets a second."""


class Relay(Process):
    """``meshloom-relay`` alone."""

    def __init__(self, backends, folder, port):
        environment = {**os.environ, "MESHLOOM_RELAY_SECRET": "a secret", "MESHLOOM_TRANSPORT_BACKENDS": backends}
        where = ("--listen", f"127.0.0.1:{port}", "--data-dir", folder / "data", "--metrics", "")
        self.process = subprocess.Popen([BIN / "meshloom-relay", *where, "--log-level", "error"], env=environment)
        super().__init__(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def pings(port):
    """Floods until the relay closes."""
    async with raw_client(RelayAddress("127.0.0.1", port, tls=False)) as raw:
        await raw.flood(raw.frame(PING, b"") * 1000)


def full_packet(client):
    """A packet with nothing but pings, as the side of a client sends it."""
    builder = QuicPacketBuilder(
        host_cid=client.host_cid,
        is_client=True,
        max_datagram_size=1450,
        packet_number=client._packet_number,
        peer_cid=client._peer_cid.cid,
        version=client._version,
    )
    builder.start_packet(QuicPacketType.ONE_RTT, client._cryptos[Epoch.ONE_RTT])
    builder.start_frame(QuicFrameType.PING).push_bytes(b"\1" * (builder.remaining_buffer_space - 1))
    client._packet_number += 1
    return builder.flush()[0]


def packets(port):
    """Shakes hands, and floods for as long as a connection lasts."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["nb-quic"], server_name="x", max_datagram_frame_size=9000
    )
    configuration.verify_mode = ssl.CERT_NONE
    client, where = QuicConnection(configuration=configuration), ("127.0.0.1", port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(where)
        made.settimeout(0.1)
        client.connect(where, time.monotonic())
        start = time.monotonic()
        while not client._handshake_confirmed and time.monotonic() < start + 5:
            for datagram, _ in client.datagrams_to_send(time.monotonic()):
                made.send(datagram)
            with contextlib.suppress(TimeoutError):
                client.receive_datagram(made.recv(2000), where, time.monotonic())
        start, sent = time.monotonic(), 0
        while (now := time.monotonic()) < start + SECONDS:
            while sent < (now - start) * PACKETS:
                sent += 1
                with contextlib.suppress(OSError):
                    made.send(full_packet(client)[0])
            time.sleep(0.002)


def strays(port):
    """Sends as many packets that nobody asked for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", port))
        start, sent = time.monotonic(), 0
        while (now := time.monotonic()) < start + SECONDS:
            while sent < (now - start) * PACKETS:
                sent += 1
                made.send(b"\xff" + bytes(1400))
            time.sleep(0.002)


def cost(backends, flood):
    """Share of a core, in percent, that the relay needed for a flood."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        relay = Relay(backends, Path(folder), port)
        try:
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError("the relay does not listen")
                time.sleep(0.05)
            before, start = relay.cpu(), time.monotonic()
            flood(port)
            time.sleep(max(0.0, start + SECONDS - time.monotonic()))
            return (relay.cpu() - before) / SECONDS * 100
        finally:
            relay.stop()


def rows():
    for backend in ("picows", "websocket"):
        share = cost(backend, lambda port: asyncio.run(pings(port)))
        yield f"{backend}: a stranger's connection that floods pings", share, "% of a core", "<= 5"
    received, share = cost("picows,quic", strays), cost("picows,quic", packets)
    yield f"quic: {PACKETS} stray packets/s", received, "% of a core", ""
    name = f"quic: a stranger's connection, {PACKETS} packets/s full of pings, beyond receiving them"
    yield name, max(0.0, share - received), "% of a core", "<= 5"
