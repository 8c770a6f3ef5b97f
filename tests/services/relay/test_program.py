"""``meshloom-relay`` and the relay in ``meshloom-server`` as programs: real sockets, files, signals."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import anyio.lowlevel
import pytest

import meshloom_transport_picows
import meshloom_transport_quic
import meshloom_transport_websocket
from meshloom.protocol.relay import Auth, encode
from meshloom.protocol.relay_client import Authenticated, PeerOnline, RelayLost
from meshloom.testing.certificates import make_certificate
from meshloom.testing.deployment import STARTED
from meshloom.testing.ports import free_port
from meshloom.testing.transport_ground import until
from meshloom.transport import RelayAddress, TransportContext

pytestmark = pytest.mark.anyio

BIN = Path(sys.executable).parent
BACKENDS = {
    backend.name: backend
    for plugin in (meshloom_transport_picows, meshloom_transport_websocket, meshloom_transport_quic)
    for backend in plugin.meshloom_transports()
}


class Program:
    """A server's process."""

    def __init__(self, folder, name="meshloom-relay"):
        self.folder, self.name, self.port = folder, name, free_port()
        self.log = folder / "log"
        self.process = None

    def start(self, *flags, **environment):
        command = [BIN / self.name, "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder / "data"]
        if self.name == "meshloom-server":
            stun = free_port()
            command += ["--stun-port", str(stun), "--stun-alternate-port", str(free_port())]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MESHLOOM_", "NB_"))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--metrics", "", *flags], env={**clean, **environment}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + STARTED
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def address(self, tls=False):
        return RelayAddress("127.0.0.1", self.port, tls)

    def stop(self, how=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)


@pytest.fixture
def program(tmp_path):
    made = Program(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


@contextlib.asynccontextmanager
async def by(backend, **context):
    async with BACKENDS[backend].open(BACKENDS[backend].options(), TransportContext(**context)) as transport:
        yield transport


async def join(ends, transport, address, number, secret):
    peer = ends.Peer(number, ends.token(secret))
    with anyio.fail_after(15):
        peer.connection = await transport.connect(address, peer)
    peer.act()
    await until(lambda: peer.events)
    return peer


async def meet(one, two):
    """Packets both ways."""
    one.open(two)
    two.open(one)
    await until(lambda: PeerOnline(two.id) in one.events and PeerOnline(one.id) in two.events)
    for payload in (b"x", bytes(1000)):
        await until(lambda payload=payload: one.send(two, payload) and (one.id, payload) in two.packets)
        await until(lambda payload=payload: two.send(one, payload) and (two.id, payload) in one.packets)


def kept_secret(program):
    return (program.folder / "data" / "relay.secret").read_text().strip()


@pytest.mark.parametrize("serving", ["picows", "websocket"])
@pytest.mark.parametrize("client", ["picows", "websocket"])
async def test_peers_meet_by_websocket_whichever_library_speaks_it(program, ends, serving, client):
    program.start(MESHLOOM_TRANSPORT_BACKENDS=serving)
    async with by(client) as transport:
        one, two = [await join(ends, transport, program.address(), number, kept_secret(program)) for number in (1, 2)]
        assert one.events[0] == Authenticated(f"rel://127.0.0.1:{program.port}")
        await meet(one, two)


@pytest.mark.parametrize("tls", [False, True])
async def test_peers_on_different_transports_meet(program, ends, tmp_path, tls):
    flags, roots = [], b""
    if tls:
        roots = make_certificate(tmp_path, "127.0.0.1").chain
        flags = ["--tls-certificate", tmp_path / "certificate.pem", "--tls-key", tmp_path / "key.pem"]
    program.start(*flags)
    async with by("quic", extra_roots=roots) as quic, by("picows", extra_roots=roots) as picows:
        one = await join(ends, quic, program.address(tls), 1, kept_secret(program))
        two = await join(ends, picows, program.address(tls), 2, kept_secret(program))
        assert one.events[0] == two.events[0] == Authenticated(f"rel{'s' * tls}://127.0.0.1:{program.port}")
        await meet(one, two)


async def test_a_secret_is_made_once_and_kept_from_others(program, ends):
    program.start()
    secret = kept_secret(program)
    assert len(secret) >= 32
    assert (program.folder / "data" / "relay.secret").stat().st_mode & 0o777 == 0o600
    program.stop()
    program.start()
    assert kept_secret(program) == secret
    assert secret not in program.log.read_text()
    async with by("picows") as transport:
        await join(ends, transport, program.address(), 1, secret)


async def test_secrets_of_the_environment_are_used_and_no_file_made(program, ends):
    program.start(MESHLOOM_RELAY_SECRET="new one\nold one\n", MESHLOOM_RELAY_PUBLIC_URL="rels://relay.example")
    assert not (program.folder / "data" / "relay.secret").exists()
    async with by("picows") as transport:
        for number, secret in enumerate(("new one", "old one")):
            peer = await join(ends, transport, program.address(), number, secret)
            assert peer.events == [Authenticated("rels://relay.example:443")]
        wrong = await join(ends, transport, program.address(), 2, "another")
        assert [type(event) for event in wrong.events] == [RelayLost]


async def test_netbirds_variables_of_a_relay_are_understood(program, ends):
    program.start(NB_AUTH_SECRET="theirs", NB_EXPOSED_ADDRESS="rels://relay.example:33080", NB_LOG_LEVEL="info")
    async with by("picows") as transport:
        peer = await join(ends, transport, program.address(), 1, "theirs")
        assert peer.events == [Authenticated("rels://relay.example:33080")]


async def test_a_flood_to_one_that_does_not_read_costs_bounded_memory_and_holds_up_nobody(program, ends):
    program.start(MESHLOOM_RELAY_QUEUE="100000")
    async with by("picows") as transport:
        flooder, deaf, one, two = [
            await join(ends, transport, program.address(), number, kept_secret(program)) for number in range(4)
        ]
        stream = deaf.connection._websocket.underlying_transport
        stream.pause_reading()
        before = resident(program)
        sent = 0
        while sent < 60_000:
            if flooder.send(deaf, bytes(1300)):
                sent += 1
            else:
                await anyio.lowlevel.checkpoint()
        await meet(one, two)
        assert not flooder.is_lost
        assert resident(program) - before < 8 << 20
        stream.resume_reading()
        await until(lambda: deaf.packets or deaf.client._early)


def resident(program):
    """Bytes of memory."""
    return int(Path(f"/proc/{program.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_told_to_stop_it_tells_its_peers_and_ends_well(program, ends):
    program.start()
    async with by("picows") as picows, by("quic") as quic:
        peers = [
            await join(ends, transport, program.address(), number, kept_secret(program))
            for number, transport in enumerate((picows, quic))
        ]
        program.process.send_signal(signal.SIGTERM)
        await until(lambda: all(peer.is_lost for peer in peers))
        assert all(RelayLost("the relay said that it closes") in peer.events for peer in peers)
        assert await anyio.to_thread.run_sync(lambda: program.process.wait(20)) == 0


async def test_killed_and_started_again_it_serves_the_same_peers(program, ends):
    program.start()
    secret = kept_secret(program)
    async with by("picows") as transport:
        peer = await join(ends, transport, program.address(), 1, secret)
        program.stop(signal.SIGKILL)
        await until(lambda: peer.is_lost)
        program.start()
        one, two = [await join(ends, transport, program.address(), number, secret) for number in (1, 2)]
        await meet(one, two)


@pytest.mark.parametrize("serving", ["picows", "websocket"])
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_the_request_and_what_follows_it_may_come_in_any_pieces(program, ends, serving, piece):
    program.start(MESHLOOM_TRANSPORT_BACKENDS=serving)
    auth = encode(Auth(ends.peer_id(1), ends.token(kept_secret(program))))
    request = b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    request += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    half = len(auth) // 2  # in two fragments, as a proxy may make of it
    frames = b"\x02" + bytes([0x80 | half]) + bytes(4) + auth[:half]
    frames += b"\x80" + bytes([0x80 | (len(auth) - half)]) + bytes(4) + auth[half:]
    data, answer = request + frames, b""
    with socket.create_connection(("127.0.0.1", program.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), piece):
            client.sendall(data[at : at + piece])
        while b"rel://" not in answer:
            answer += (more := client.recv(4096))
            assert more
    assert answer.startswith(b"HTTP/1.1 101 ")


def test_what_is_no_request_for_the_relay_is_answered(program):
    program.start()
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"http://127.0.0.1:{program.port}/", timeout=10)
    assert answer.value.code == 404
    answer.value.close()
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"http://127.0.0.1:{program.port}/relay", timeout=10)
    assert answer.value.code in (400, 426)
    answer.value.close()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--relay-public-url", "https://x"), "relay.public_url"),
        (("--relay-max-peers", "0"), "relay.max_peers"),
        (("--relay-peer-rate", "-1"), "relay.peer_rate"),
    ],
)
def test_a_wrong_configuration_is_told_by_its_key(tmp_path, flags, problem):
    command = [BIN / "meshloom-relay", "--listen", "127.0.0.1:0", "--data-dir", tmp_path, "--metrics", "", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert problem in done.stderr


async def test_the_whole_server_relays_on_its_one_port_beside_its_api(tmp_path, ends):
    program = Program(tmp_path, "meshloom-server")
    try:
        program.start("--public-url", f"http://127.0.0.1:{program.port}", MESHLOOM_RELAY_SECRET="given")
        async with by("picows") as picows, by("quic") as quic:
            one = await join(ends, picows, program.address(), 1, "given")
            two = await join(ends, quic, program.address(), 2, "given")
            await meet(one, two)
            url = f"http://127.0.0.1:{program.port}/api/instance"
            answer = await anyio.to_thread.run_sync(lambda: urllib.request.urlopen(url, timeout=10).read())
            assert json.loads(answer)["setup_required"] is True
            program.process.send_signal(signal.SIGTERM)
            await until(lambda: one.is_lost and two.is_lost)
    finally:
        program.process.kill()
        program.process.wait()


async def test_the_whole_server_with_a_secret_of_its_own_relays_for_registered_machines_alone(tmp_path, ends):
    program = Program(tmp_path, "meshloom-server")
    try:
        program.start("--public-url", f"http://127.0.0.1:{program.port}", "--log-level", "debug")
        async with by("picows") as transport:
            stranger = await join(ends, transport, program.address(), 1, kept_secret(program))
            assert stranger.is_lost
        await until(lambda: "(not registered)" in program.log.read_text())
    finally:
        program.process.kill()
        program.process.wait()


def test_the_whole_server_need_not_relay(tmp_path):
    program = Program(tmp_path, "meshloom-server")
    try:
        program.start("--relay-enabled", "false")
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"http://127.0.0.1:{program.port}/relay", timeout=10)
        assert answer.value.code == 404
        answer.value.close()
    finally:
        program.process.kill()
        program.process.wait()


def cut(connection):
    """Ends a connection by a reset, whatever is on its way."""
    inner = connection._websocket.underlying_transport
    inner.get_extra_info("socket")._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    inner.abort()


@pytest.mark.parametrize("serving", ["picows", "websocket"])
@pytest.mark.parametrize("name", ["meshloom-relay", "meshloom-server"])
async def test_connections_that_are_cut_in_the_middle_of_traffic_leave_no_stack_trace(program, ends, serving, name):
    program.name = name
    program.start("--log-level", "debug", MESHLOOM_TRANSPORT_BACKENDS=serving, MESHLOOM_RELAY_SECRET="secret")
    async with by("picows") as transport:
        for number in range(2, 22, 2):
            address = program.address()
            one, two = [await join(ends, transport, address, number + side, "secret") for side in (0, 1)]
            await meet(one, two)
            for turn in range(400):
                one.send(two, bytes(1000 * (number % 4 + 1)))
                two.send(one, bytes(8000))
                if turn % number == 0:
                    await anyio.lowlevel.checkpoint()
            cut(two.connection)
            for _ in range(200):
                one.send(two, bytes(1000))
                await anyio.lowlevel.checkpoint()
            cut(one.connection)
            await until(lambda two=two: two.lost)
    program.stop()
    assert not re.search("Traceback|ERROR", program.log.read_text())
