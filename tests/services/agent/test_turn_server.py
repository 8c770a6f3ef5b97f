"""Addresses on a real TURN server: packets through them, and what keeps them alive."""

import shutil
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from meshloom.testing.ports import free_port
from meshloom.testing.transport_ground import until
from meshloom_agent.turn import TurnClient, TurnServer
from meshloom_agent.turn.allocation import TurnTimers, open_allocation
from meshloom_management.addresses import TurnCredentials

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not shutil.which("turnserver"), reason="needs coturn: make setup-tests"),
]

HOST = "127.0.0.1"
SECRET = "shared"
NORMAL = TurnTimers()


class Program:
    def __init__(self, folder, port):
        self.folder, self.port, self.process = folder, port, None

    def start(self, *options):
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--verbose", "--simple-log"),
                *("--log-file", "stdout", "--listening-ip", HOST, "--relay-ip", HOST, "--allow-loopback-peers"),
                *("--listening-port", str(self.port), "--alt-listening-port", "0", "--realm", "mesh.test"),
                *("--use-auth-secret", "--static-auth-secret", SECRET),
                *("--pidfile", str(self.folder / "pid"), "--userdb", str(self.folder / "db"), *options),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def says(self):
        return (self.folder / "log").read_text(errors="replace")

    def server(self, transport="udp", lifetime=timedelta(hours=1), secret=SECRET):
        user, password = TurnCredentials((), secret, lifetime).for_peer("peer", datetime.now(UTC))
        return TurnServer(HOST, self.port, transport, user=user, password=password)

    async def is_up(self):
        while True:
            try:
                async with await anyio.connect_tcp(HOST, self.port):
                    return
            except OSError:
                await anyio.sleep(0.02)


@pytest.fixture
async def turn(tmp_path):
    program = Program(tmp_path, free_port())
    yield program
    program.kill()


class Kept:
    def __init__(self):
        self.allocation, self.packets, self.why = None, [], None

    @property
    def address(self):
        return self.allocation.address


@asynccontextmanager
async def kept(server, timers=NORMAL):
    """An allocation, and what comes to it."""
    made = Kept()
    made.allocation = await open_allocation(
        server, None, lambda data, source, _: made.packets.append((bytes(data), source)), timers
    )
    ready = anyio.Event()

    async def keep():
        made.why = await made.allocation.keep(ready.set)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep)
            await ready.wait()
            yield made
            tasks.cancel_scope.cancel()
    finally:
        await made.allocation.close()


async def exchange(one, two, text):
    """One packet each way, as datagrams are: sent again until it is there."""
    for sender, receiver in ((one, two), (two, one)):
        with anyio.fail_after(5):
            while (text, sender.address) not in receiver.packets:
                sender.allocation.send(text, receiver.address)
                receiver.allocation.send(b"", sender.address)  # so that the other may
                await anyio.sleep(0.02)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_packets_of_every_length_go_between_two_addresses(turn, transport):
    turn.start()
    await turn.is_up()
    async with kept(turn.server(transport)) as one, kept(turn.server("udp")) as two:
        for size in (1, 2, 3, 4, 1, 1280, 1400):
            await exchange(one, two, bytes([size % 251]) * size)


async def test_packets_that_come_before_there_is_a_channel_wait_for_it(turn):
    turn.start()
    await turn.is_up()
    async with kept(turn.server()) as one, kept(turn.server()) as two:
        await exchange(two, one, b"so that two permits one")
        async with kept(turn.server()) as three:
            await exchange(two, three, b"so that two permits three")
        for number in range(5):
            one.allocation.send(bytes([number]), two.address)
        await until(lambda: {data for data, _ in two.packets} >= {bytes([number]) for number in range(5)})


async def test_channels_and_their_permissions_are_renewed_under_traffic_without_a_loss(turn):
    turn.start()
    await turn.is_up()
    short = TurnTimers(channel=0.3)
    async with kept(turn.server(), short) as one, kept(turn.server("tcp"), short) as two:
        await exchange(one, two, b"first")
        for number in range(40):
            one.allocation.send(b"on %d" % number, two.address)
            two.allocation.send(b"on %d" % number, one.address)
            await anyio.sleep(0.05)
        await exchange(one, two, b"last")
        for each in (one, two):
            assert len({data for data, _ in each.packets if data.startswith(b"on")}) == 40
            renewed = f"peer {HOST}:{each.address[1]} lifetime updated: 600"  # also that of the permission
            assert turn.says.count(renewed) >= 4


async def test_a_silent_server_is_asked_and_a_stale_nonce_is_no_loss(turn):
    turn.start("--stale-nonce=1")
    await turn.is_up()
    async with kept(turn.server(), TurnTimers(silence=0.5)) as one:
        await until(lambda: turn.says.count("REFRESH processed, success") >= 4)
        assert one.why is None


async def test_credentials_that_have_expired_do_not_end_what_they_gave(turn):
    turn.start()
    await turn.is_up()
    async with kept(turn.server(lifetime=timedelta(seconds=1)), TurnTimers(silence=0.5)) as one:
        await until(lambda: turn.says.count("REFRESH processed, success") >= 4)
        assert one.why is None
    with pytest.raises(ConnectionError, match="401"):
        await open_allocation(turn.server(lifetime=timedelta(seconds=-5)), None, lambda *_: None)


async def test_a_server_started_anew_is_found_out(turn):
    turn.start()
    await turn.is_up()
    async with kept(turn.server(), TurnTimers(silence=0.3)) as one:
        turn.kill()
        turn.start()
        await turn.is_up()
        await until(lambda: one.why is not None)
        assert "437" in one.why


async def test_a_server_that_is_away_is_found_out(turn):
    turn.start()
    await turn.is_up()
    async with (
        kept(turn.server(), TurnTimers(silence=0.3, answer=1.0)) as one,
        kept(turn.server("tcp"), TurnTimers(silence=30.0)) as two,
    ):
        turn.kill()
        await until(lambda: one.why and two.why)


async def test_a_wrong_secret_is_refused(turn):
    turn.start()
    await turn.is_up()
    with pytest.raises(ConnectionError, match="401"):
        await open_allocation(turn.server(secret="another"), None, lambda *_: None)


async def test_a_peer_that_the_server_forbids_is_not_asked_for_with_every_packet(turn):
    turn.start("--denied-peer-ip", "127.0.0.9")
    await turn.is_up()
    async with kept(turn.server()) as one, kept(turn.server()) as two:
        for _ in range(50):
            one.allocation.send(b"x", ("127.0.0.9", 9))
            await anyio.sleep(0.002)
        await exchange(one, two, b"others are")
        assert turn.says.count("CHANNEL_BIND processed, error 403") == 1


@asynccontextmanager
async def running(client):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        yield
        tasks.cancel_scope.cancel()


async def test_the_client_has_an_address_while_there_is_need(turn):
    turn.start()
    await turn.is_up()
    client = TurnClient(lambda *_: None, lambda: None)
    client.set_servers([turn.server()])
    async with running(client):
        assert not client.allocations
        client.need(True)
        await until(lambda: client.allocations)
        client.need(False)
        await until(lambda: not client.allocations)
        await until(lambda: "lifetime=0" in turn.says)


async def test_new_credentials_keep_the_address_and_serve_for_the_next(turn):
    turn.start()
    await turn.is_up()
    client = TurnClient(lambda *_: None, lambda: None)
    old, new = turn.server(lifetime=timedelta(hours=1)), turn.server(lifetime=timedelta(hours=2))
    client.set_servers([old])
    async with running(client):
        client.need(True)
        await until(lambda: client.allocations)
        before = dict(client.allocations)
        client.set_servers([new])
        assert client.allocations == before
        client.renew()
        await until(lambda: client.allocations and client.allocations != before)
        assert f"username=<{new.user}>" in turn.says


async def test_why_there_is_no_address_is_said(turn):
    client = TurnClient(lambda *_: None, lambda: None)
    nobody = TurnServer(HOST, free_port(), "tcp")
    client.set_servers([nobody])
    async with running(client):
        client.need(True)
        await until(lambda: client.errors.get(nobody.uri))
        assert "onnect" in client.errors[nobody.uri]
