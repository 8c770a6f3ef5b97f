"""The relay over WebSocket: a real process, and what forwarding a packet costs it in CPU time.

The load comes from another process of its own (this file, run as a program): it keeps a bounded number of packets
under way between pairs of peers, and counts those that arrive.
"""

import base64
import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from meshloom.model.keys import PrivateKey
from meshloom.protocol.relay import Auth, encode, packet_head, relay_peer_id
from meshloom.protocol.relay_token import issue_token, join_token

BIN = Path(sys.executable).parent
PORT = 18481
SECRET = "a secret of this benchmark"
PACKET = 1300
UNDER_WAY = 192
"""Packets of a pair that are sent and not yet received, at most."""
SECONDS = float(os.environ.get("MESHLOOM_BENCH_SECONDS", "4"))
BATCH = 32
CONNECTED, ACTIVE = 2000, 20
MOST_PACED = 20_000
"""Packets a second that the load can send one by one."""
TICK = os.sysconf("SC_CLK_TCK")
REQUEST = (
    "GET /relay HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
)


class Server:
    """``meshloom-relay`` alone."""

    def __init__(self, backend, folder, tls=False):
        self.tls = tls
        flags = []
        if tls:
            names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
            kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
            made = ("-keyout", folder / "key.pem", "-out", folder / "cert.pem")
            subprocess.run(["openssl", "req", "-x509", *kind, *names, *made], check=True, capture_output=True)
            flags = ["--tls-certificate", folder / "cert.pem", "--tls-key", folder / "key.pem"]
        environment = {**os.environ, "MESHLOOM_RELAY_SECRET": SECRET, "MESHLOOM_TRANSPORT_BACKENDS": backend}
        where = ("--listen", f"127.0.0.1:{PORT}", "--data-dir", folder / "data", "--metrics", "")
        self.process = subprocess.Popen(
            [BIN / "meshloom-relay", *where, "--log-level", "error", *flags], env=environment
        )
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", PORT)).close()
                break
            if time.monotonic() > deadline:
                raise TimeoutError("the relay does not listen")
            time.sleep(0.05)

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        """Resident, in KB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e3

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def frame(message):
    """A masked frame; the key is zero, so that the same bytes can be sent again and again."""
    size = len(message)
    head = struct.pack(">BB", 0x82, 0x80 | size) if size < 126 else struct.pack(">BBH", 0x82, 0x80 | 126, size)
    return head + bytes(4) + message


class Peer:
    """A peer in the load's process."""

    def __init__(self, tls):
        self.id = relay_peer_id(PrivateKey.of(os.urandom(32)).public)
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.socket.sendall(REQUEST.format(base64.b64encode(os.urandom(16)).decode()).encode())
        self.read_until(b"\r\n\r\n")
        token = join_token(*issue_token(SECRET, int(time.time()) + 3600))
        self.socket.sendall(frame(encode(Auth(self.id, token))))
        self.read_until(b"rel")
        self.sent = self.received = 0
        self.waiting = memoryview(b"")

    def read_until(self, what):
        got = b""
        while what not in got:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError(f"the relay closed; {what!r} did not come")
            got += more

    def send_some(self):
        try:
            self.waiting = self.waiting[self.socket.send(self.waiting) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass


def load(pairs, tls, seconds):
    """Keep packets under way for a while; returns how many arrived."""
    left = [Peer(tls) for _ in range(pairs)]
    right = [Peer(tls) for _ in range(pairs)]
    size = 4 + 38 + PACKET
    selector = selectors.DefaultSelector()
    buffer = bytearray(1 << 18)
    for sender, receiver in zip(left, right, strict=True):
        sender.burst = frame(packet_head(receiver.id) + bytes(PACKET)) * BATCH
        sender.peer = receiver
        receiver.socket.setblocking(False)
        sender.socket.setblocking(False)
        selector.register(receiver.socket, selectors.EVENT_READ, receiver)
    print("ready", flush=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        busy = False
        for sender in left:
            if not sender.waiting and (sender.sent - sender.peer.received // size) <= UNDER_WAY - BATCH:
                sender.waiting = memoryview(sender.burst)
                sender.sent += BATCH
            if sender.waiting:
                sender.send_some()
                busy = True
        for key, _ in selector.select(0 if busy else 0.05):
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                while got := key.data.socket.recv_into(buffer):
                    key.data.received += got
                    if got < 16384:
                        break
    return sum(receiver.received // size for receiver in right)


def delays(pairs, rate, seconds):
    """Send at a rate, each packet with its time; how long they were under way, in seconds."""
    left, right = [Peer(tls=False) for _ in range(pairs)], [Peer(tls=False) for _ in range(pairs)]
    heads = [frame(packet_head(receiver.id) + bytes(PACKET))[: 8 + 38] for receiver in right]
    rest, size = bytes(PACKET - 8), 4 + 38 + PACKET
    selector = selectors.DefaultSelector()
    for peer in right:
        peer.socket.setblocking(False)
        peer.waiting = b""
        selector.register(peer.socket, selectors.EVENT_READ, peer)
    print("ready", flush=True)
    found, sent, start = [], 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        while sent < (now - start) * rate:
            place = sent % pairs
            left[place].socket.sendall(heads[place] + struct.pack("d", time.perf_counter()) + rest)
            sent += 1
        for key, _ in selector.select(0.0002):
            peer = key.data
            peer.waiting += peer.socket.recv(1 << 18)
            now = time.perf_counter()
            whole = len(peer.waiting) // size
            found += [now - struct.unpack_from("d", peer.waiting, number * size + 4 + 38)[0] for number in range(whole)]
            peer.waiting = peer.waiting[whole * size :]
    return found


def crowd(count, active):
    """Many peers, of which some have traffic; they stay until the other side has seen enough."""
    peers = [Peer(tls=False) for _ in range(count)]
    for sender, receiver in zip(peers[:active:2], peers[1:active:2], strict=True):
        for _ in range(50):
            sender.socket.sendall(frame(packet_head(receiver.id) + bytes(PACKET)))
            got = 0
            while got < 4 + 38 + PACKET:
                got += len(receiver.socket.recv(4096))
    print("ready", flush=True)
    sys.stdin.read(1)


def run(*arguments):
    """The load as another process; its result."""
    command = [sys.executable, __file__, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        yield made.stdout.readline().strip()
        made.stdin.close()
        yield json.loads(made.stdout.read() or "null")


def forwarding(backend, pairs, tls):
    """CPU-us a packet, and packets a second."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(backend, Path(folder), tls)
        try:
            steps = run("load", pairs, int(tls), SECONDS)
            next(steps)
            before, start = server.cpu(), time.monotonic()
            arrived = next(steps)
            spent, took = server.cpu() - before, time.monotonic() - start
        finally:
            server.stop()
    return spent / arrived * 1e6, arrived / took


def delayed(backend, pairs, rate):
    """Half and 99 of 100 packets arrive within so many seconds; and the CPU-us of each."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(backend, Path(folder))
        try:
            steps = run("delays", pairs, rate, SECONDS)
            next(steps)
            before = server.cpu()
            found = sorted(next(steps))
            spent = server.cpu() - before
        finally:
            server.stop()
    return found[len(found) // 2], found[len(found) * 99 // 100], spent / len(found) * 1e6


def memory_of_a_peer(backend):
    """KB."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(backend, Path(folder))
        try:
            before = server.memory()
            steps = run("crowd", CONNECTED, ACTIVE)
            next(steps)
            return (server.memory() - before) / CONNECTED
        finally:
            server.stop()


def rows():
    for backend in ("picows", "websocket"):
        most = 0.0
        for tls in (False, True):
            for pairs in (1, 4, 16):
                each, rate = forwarding(backend, pairs, tls)
                most = rate if (pairs, tls) == (4, False) else most
                name = f"{backend}{', TLS' if tls else ''}: {pairs} pair{'s' if pairs > 1 else ''}, {PACKET} B"
                yield name, each, "CPU-us/packet", "" if backend != "picows" else "<= 14" if tls else "<= 10"
                yield f"{name}: forwarded", rate / 1000, "k packets/s", ""
        rate = min(int(most / 2), MOST_PACED)
        half, most_of_them, each = delayed(backend, 4, rate)
        name = f"{backend}: 4 pairs, {rate / 1000:.0f} k packets/s one by one"
        yield f"{name}: forwarding delay, half", half * 1000, "ms", ""
        yield f"{name}: forwarding delay, p99", most_of_them * 1000, "ms", ""
        yield name, each, "CPU-us/packet", ""
        yield f"{backend}: {CONNECTED} peers, {ACTIVE} active", memory_of_a_peer(backend), "KB/peer", "<= 60"


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    work, *arguments = sys.argv[1:]
    if work == "load":
        print(json.dumps(load(int(arguments[0]), bool(int(arguments[1])), float(arguments[2]))))
    elif work == "delays":
        print(json.dumps(delays(int(arguments[0]), int(arguments[1]), float(arguments[2]))))
    else:
        crowd(int(arguments[0]), int(arguments[1]))
