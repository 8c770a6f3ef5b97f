"""A management that names servers inside this machine, its cloud or the mesh: nothing is sent there, and it is said."""

import asyncio
import socket
from ipaddress import ip_address

import anyio
import pytest

from meshloom.testing.ports import free_port
from meshloom_agent import sync
from meshloom_agent.backoff import Backoff
from meshloom_agent.report import CONNECTED

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

FAR = frozenset({ip_address("203.0.113.5")})
SETUP_KEY = "11111111-2222-3333-4444-555555555555"
TOKEN = "1700000000", "A" * 43 + "="


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waiting is not what is tested."""
    monkeypatch.setattr(sync, "Backoff", lambda **_: Backoff(first=0.1, longest=0.5))
    monkeypatch.setattr("meshloom_agent.signal_client.Backoff", lambda **_: Backoff(first=0.1, longest=0.5))


@pytest.fixture
async def up(joined, daemon, until):
    await until(lambda: daemon.report.state == CONNECTED)
    return daemon


@pytest.fixture
async def far(up, monkeypatch):
    """Management was reached somewhere else: nothing on this machine is a server's."""

    async def addresses(_server, _within=0.0):
        return FAR

    monkeypatch.setattr("meshloom_agent.engine.addresses_of", addresses)
    await up._engine._look_around()
    up._engine._border._seen.clear()
    return up


class Trap:
    """Notes who comes, by TCP or UDP."""

    def __init__(self):
        self.came = []
        self.port = free_port()
        self.stream = socket.create_server(("127.0.0.1", self.port))
        self.datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagram.bind(("127.0.0.1", self.port))
        for each in (self.stream, self.datagram):
            each.setblocking(False)

    async def run(self):
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._accept, loop)
            while True:
                self.came.append((await loop.sock_recv(self.datagram, 2048))[:20])

    async def _accept(self, loop):
        while True:
            made, _ = await loop.sock_accept(self.stream)
            self.came.append("tcp")
            made.close()

    def close(self):
        self.stream.close()
        self.datagram.close()


@pytest.fixture
async def trap():
    made = Trap()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run)
        yield made
        tasks.cancel_scope.cancel()
    made.close()


def hostile(management, own, port, serial=100):
    made = management.map_of(own, [], serial=serial)
    config = made.netbirdConfig
    config.signal.uri = f"localhost:{port}"
    config.stuns.add(uri=f"stun:localhost:{port}")
    config.turns.add(user="u", password="p").hostConfig.uri = f"turn:localhost:{port}?transport=tcp"
    config.relay.urls.append(f"rel://localhost:{port}")
    config.relay.tokenPayload, config.relay.tokenSignature = TOKEN
    return made


async def test_nothing_is_sent_to_servers_on_this_machine_and_it_is_said(far, management, meshloom, until, trap):
    own = far.files.key().public.text
    far._engine._paths.plan.set_servers([f"rel://localhost:{trap.port}"], anyio.current_time())
    management.tell(own, hostile(management, own, trap.port))
    paths = far._engine._paths
    paths.turn.need(True)
    await until(lambda: any("STUN" in text for text in far.report.warnings))
    await until(lambda: any("signal" in text for text in far.report.warnings))
    for find in (paths.turn._locate("TURN", "localhost", trap.port), far._engine._border.addresses("relay", "::1", 80)):
        with pytest.raises(OSError, match="is not used at"):
            await find
    said = (await meshloom("status")).out
    for kind in ("STUN", "signal", "TURN"):
        assert (
            f"Warning: the {kind} server localhost:{trap.port} is not used at 127.0.0.1, which is the loopback's"
            in said
        )
    assert "not asked: it is the loopback's" in (await meshloom("status", "--detail")).out
    assert "is not used at" in far.report.signal.error
    assert not trap.came
    management.tell(own, management.map_of(own, [], serial=101))


@pytest.fixture
def elsewhere(trap, monkeypatch):
    """Management's name leads elsewhere from the beginning."""

    async def addresses(_server, _within=0.0):
        return FAR

    monkeypatch.setattr("meshloom_agent.engine.addresses_of", addresses)
    return trap


async def test_a_signal_server_on_this_machine_is_not_even_connected_to(elsewhere, daemon, management, meshloom, until):
    trap = elsewhere
    management.signal_target = f"localhost:{trap.port}"
    await meshloom("login", "-m", management.url, "-k", SETUP_KEY, "--interface-name", "test0")
    await daemon.up()
    await until(lambda: daemon.report.signal.error)
    assert not trap.came
    assert "which is the loopback's" in daemon.report.signal.error
    await until(lambda: daemon.report.management.connected)


async def test_a_signal_server_that_is_right_again_is_used_without_a_restart(
    far, management, signal, until, monkeypatch
):
    own = far.files.key().public.text
    bad = management.map_of(own, [], serial=100)
    bad.netbirdConfig.signal.uri = "169.254.169.254:80"
    management.tell(own, bad)
    await until(lambda: "which is a cloud's metadata" in far.report.signal.error)
    failures = far.report.counters.failures
    monkeypatch.undo()
    await far._engine._look_around()
    far._engine._border._seen.clear()
    management.tell(own, management.map_of(own, [], serial=101))
    await until(lambda: far.report.signal.connected and not far.report.warnings, 20)
    assert far.report.counters.failures == failures


async def test_where_management_is_on_this_machine_other_servers_may_be_too(up, management, until, trap):
    own = up.files.key().public.text
    named = management.map_of(own, [], serial=100)
    named.netbirdConfig.stuns.add(uri=f"stun:127.0.0.1:{trap.port}")
    management.tell(own, named)
    await until(lambda: up.report.stuns and not up.report.warnings)
    assert await up._engine._border.addresses("STUN", "127.0.0.1", trap.port) == ["127.0.0.1"]


async def test_a_server_within_the_overlay_is_refused(up):
    with pytest.raises(OSError, match="which is the overlay's"):
        await up._engine._border.addresses("relay", "100.64.7.7", 443)
    assert up._engine._border.refusal("100.64.7.7")


async def test_an_overlay_that_would_cut_off_signal_or_a_relay_is_refused(far, management, until, monkeypatch):
    async def getaddrinfo(_host, port, **_):
        return [(2, 1, 6, "", ("198.51.100.7", port))]

    own = far.files.key().public.text
    with monkeypatch.context() as patched:
        patched.setattr("anyio.getaddrinfo", getaddrinfo)
        host, _, port = management.signal_target.partition(":")
        await far._engine._border.addresses("signal", host, int(port))
    bad = management.map_of(own, [], serial=100)
    bad.NetworkMap.peerConfig.address = "198.51.100.1/24"
    management.tell(own, bad)
    await until(lambda: far.report.refused.get("address"))
    assert "it would cut off the signal server at 198.51.100.7; the old one stays" in far.report.warnings[0]
    assert str(far.report.addresses[0]) == "100.64.0.1/16"


async def test_a_name_that_leads_now_here_and_now_there_opens_nothing(up, far):
    border = far._engine._border
    assert border.refusal("127.0.0.1")
    far._engine._maps.around = far._engine._maps.around.__class__(frozenset({ip_address("127.0.0.1")}))
    assert border.refusal("127.0.0.1")


async def test_of_several_addresses_the_fit_ones_are_used(far, monkeypatch):
    async def getaddrinfo(host, port, **_):
        return [(2, 1, 6, "", (each, port)) for each in ("127.0.0.1", "198.51.100.7")]

    monkeypatch.setattr("anyio.getaddrinfo", getaddrinfo)
    assert await far._engine._border.addresses("relay", "two.example", 443) == ["198.51.100.7"]
    assert "two.example:443 is not used at 127.0.0.1" in " ".join(far.report.warnings)
