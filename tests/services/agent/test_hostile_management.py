"""A daemon whose management turns hostile, or is impersonated: it refuses, says so, and finds back by itself."""

import json
import os
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface

import pytest

from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent import sync
from meshloom_agent.backoff import Backoff
from meshloom_agent.daemon import Daemon
from meshloom_agent.files import StateDir
from meshloom_agent.management_errors import ServerKeyChanged
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waiting is not what is tested."""
    monkeypatch.setattr(sync, "Backoff", lambda **_: Backoff(first=0.1, longest=0.5))


@pytest.fixture
async def up(joined, daemon, until):
    await until(lambda: daemon.report.state == CONNECTED and daemon.files.last_map() is not None)
    return daemon


def key_of(daemon):
    return daemon.files.key().public.text


def overlay(management, own, address, serial=100):
    made = management.map_of(own, [], serial=serial)
    made.NetworkMap.peerConfig.address = address
    return made


@pytest.mark.parametrize("address", ["1.2.3.4/1", "127.0.0.2/8", "169.254.169.254/32", "100.64.0.1/0"])
async def test_an_overlay_that_cannot_be_is_refused_and_said(up, management, meshloom, until, address):
    own = key_of(up)
    management.tell(own, overlay(management, own, address))
    await until(lambda: up.report.refused.get("address"))
    assert up.report.addresses == (ip_interface("100.64.0.1/16"),)
    said = (await meshloom("status")).out
    assert "Warning: the overlay" in said
    assert "the old one stays" in said
    doctor = json.loads((await meshloom("doctor", "--json", "--no-ask-gateway")).out)
    (finding,) = [each for each in doctor if each["name"] == "management"]
    assert finding["level"] == "warning"
    assert "is refused" in finding["text"]
    management.tell(own, management.map_of(own, [], serial=101))
    await until(lambda: not up.report.warnings)


async def test_a_first_overlay_that_cannot_be_is_no_tunnel(daemon, management, meshloom, until, tunnels):
    management.config = lambda key: pb.PeerConfig(address="0.0.0.1/1", fqdn="x.mesh.test")
    done = await meshloom("up", "-m", management.url, "-k", SETUP_KEY, "--interface-name", "test0")
    assert (done.code, "the overlay 0.0.0.0/1 is refused" in done.err) == (1, True)
    assert "test0" not in tunnels.opened


async def test_a_kept_map_that_cuts_management_off_is_not_used_for_ever(up, management, until, monkeypatch):
    """The server moves into what the overlay takes away, and the machine still finds it."""
    around = frozenset({ip_address("100.64.0.200")})

    async def moved(_server, _within=0.0):
        return around

    monkeypatch.setattr("meshloom_agent.engine.addresses_of", moved)
    management.config = lambda key: pb.PeerConfig(address="10.20.0.1/16", fqdn="x.mesh.test")
    up._engine._resolve.set()
    await until(lambda: list(map(str, up.report.addresses)) == ["10.20.0.1/16"], 20)
    await until(lambda: up.report.management.connected, 20)


async def test_addresses_of_others_are_refused_and_said(up, management, meshloom, until):
    own = key_of(up)
    keys = [PrivateKey.of(bytes([number]) * 32).public for number in (1, 2, 3)]
    wanted = (["0.0.0.0/0", "100.64.0.7/32"], ["100.64.0.1/32"], ["100.64.0.7/32", "127.0.0.1/32"])
    remotes = [
        pb.RemotePeerConfig(wgPubKey=key.text, allowedIps=allowed, fqdn=f"evil{key.text[0]}\x1b[2J\n")
        for key, allowed in zip(keys, wanted, strict=True)
    ]
    management.tell(own, management.map_of(own, remotes, serial=100))
    await until(lambda: up.report.refused.get("network map"))
    assert set(up._engine._mesh.peers) == {keys[0]}
    said = await meshloom("status")
    for why in ("not a single address", "belongs to this machine", "outside the overlay", "belongs to evil"):
        assert why in said.out
    assert "\x1b" not in said.out


async def test_too_many_peers_are_refused_and_said(up, management, meshloom, until):
    own = key_of(up)
    maps = up.report.counters.maps
    management.tell(own, management.map_of(own, [pb.RemotePeerConfig()] * 20_000, serial=100))
    await until(lambda: up.report.refused.get("network map"))
    assert up.report.counters.maps == maps
    assert "20000 peers; at most 10000" in (await meshloom("status")).out


async def test_a_signal_server_that_is_a_file_is_refused_and_said(daemon, management, signal, meshloom, until):
    management.signal_target = "unix:/run/docker.sock"
    daemon_up = await meshloom("login", "-m", management.url, "-k", SETUP_KEY, "--interface-name", "test0")
    assert daemon_up.code == 0
    await daemon.up()
    await until(lambda: daemon.report.refused.get("signal"))
    assert "the signal server unix:/run/docker.sock is not used" in (await meshloom("status")).out
    management.signal_target = signal.target
    own = key_of(daemon)
    management.tell(own, management.map_of(own, [], serial=100))
    await until(lambda: daemon.report.state == CONNECTED, 20)
    assert not daemon.report.warnings


async def test_another_key_at_the_same_address_is_refused_until_the_user_accepts_it(
    up, management, meshloom, until, caplog
):
    await management.stop()
    before, management.key = management.key, PrivateKey.of(os.urandom(32))
    management.seal_with = management.key
    await management.start()
    await until(lambda: up.report.refused.get("server key"), 20)
    assert up.is_up
    assert up.report.addresses
    assert "shows another key than before" in caplog.text
    status = (await meshloom("status")).out
    assert "shows another key than before" in status
    assert "meshloom up --accept-server-key" in status
    assert "shows another key" in (await meshloom("doctor", "--no-ask-gateway")).out
    refused = await meshloom("up")
    assert (refused.code, "--accept-server-key" in refused.err) == (1, True)
    with pytest.raises(ServerKeyChanged):
        await up.login(up.settings, SETUP_KEY)
    management.serial = 0  # it was set up again
    accepted = await meshloom("up", "--accept-server-key")
    assert (accepted.code, accepted.out.partition(" as ")[0]) == (0, "Connected"), accepted.err
    assert not up.report.warnings
    assert before.public.text not in str(up.files.servers())


async def test_the_old_key_coming_back_ends_it_by_itself(up, management, until):
    good = management.key
    await management.stop()
    management.seal_with = management.key = PrivateKey.of(os.urandom(32))
    await management.start()
    await until(lambda: up.report.refused.get("server key"), 20)
    await management.stop()
    management.seal_with = management.key = good
    await management.start()
    await until(lambda: up.report.state == CONNECTED and not up.report.warnings, 20)


@asynccontextmanager
async def restarted(up, tunnels):
    """The same machine after a restart."""
    await up.pause()
    async with (made := Daemon(StateDir(up.files.path), tunnels.chosen)).running():
        yield made


async def test_after_a_restart_an_older_map_than_the_kept_one_is_refused(up, management, until, tunnels):
    own = key_of(up)
    management.tell(own, management.map_of(own, [], serial=100))
    await until(lambda: up.files.last_map().NetworkMap.Serial == 100)
    management.serial = 50  # as in a recording
    async with restarted(up, tunnels) as again:
        await until(lambda: again.report.refused.get("network map"))
        assert "is older than 100" in again.report.warnings[0]
        assert again.report.counters.maps == 0
        await again.login(again.settings, "", accept_server_key=True)
        await until(lambda: again.report.counters.maps and not again.report.warnings, 20)


async def test_a_stream_that_is_known_to_be_fresh_may_begin_with_an_older_map(fresh, up, management, until, tunnels):
    management.tell(key_of(up), management.map_of(key_of(up), [], serial=100))
    await until(lambda: up.files.last_map().NetworkMap.Serial == 100)
    management.serial = 50  # restored from a backup
    async with restarted(up, tunnels) as again:
        await until(lambda: again.report.counters.maps)
        assert not again.report.warnings
        management.tell(key_of(up), management.map_of(key_of(up), [], serial=40))
        await until(lambda: again.report.refused.get("network map"))
        assert "is older than 51" in again.report.warnings[0], "within one stream maps are in order"


async def test_a_recording_of_a_whole_session_is_refused(fresh, up, management, until):
    """Somebody in between answers with what the server said before, key, login and map."""
    refused = up.report.counters.lost["management"]
    fresh.replays = True
    management.tell(key_of(up), None)
    await until(lambda: up.report.counters.lost["management"] > refused + 1 or "belong" in up.report.management.error)
    assert not up.report.management.connected
    assert up.report.addresses
    fresh.replays = False
    await until(lambda: up.report.state == CONNECTED, 20)


@pytest.mark.parametrize(
    ("url", "addresses", "warns"),
    [
        ("http://mesh.example.net", ["203.0.113.1"], True),
        ("http://mesh.example.net", ["10.0.0.1", "203.0.113.1"], True),
        ("http://mesh.example.net", [], True),
        ("http://203.0.113.1:8080", ["203.0.113.1"], True),
        ("http://[2001:db8::1]", ["2001:db8::1"], True),
        ("https://mesh.example.net", ["203.0.113.1"], False),
        ("http://localhost", ["127.0.0.1", "::1"], False),
        ("http://10.0.0.1", ["10.0.0.1"], False),
        ("http://172.31.0.1", ["172.31.0.1"], False),
        ("http://172.32.0.1", ["172.32.0.1"], True),
        ("http://192.168.1.1", ["192.168.1.1"], False),
        ("http://100.64.0.1", ["100.64.0.1"], False),
        ("http://[fd00::1]", ["fd00::1"], False),
        ("http://[fe80::1]", ["fe80::1"], False),
        ("http://h", ["::ffff:192.168.1.1"], False),
        ("http://h", ["::ffff:203.0.113.1"], True),
    ],
)
async def test_plain_http_beyond_private_networks_is_warned_of(url, addresses, warns):
    from meshloom_agent.channel import parse_url
    from meshloom_agent.server_identity import plain_http_warning

    warning = plain_http_warning(parse_url(url), map(ip_address, addresses))
    assert bool(warning) is warns
    assert not warns or "without TLS" in warning


async def test_up_says_that_its_server_is_reached_without_tls(daemon, management, meshloom, monkeypatch):
    near = await meshloom("up", "-m", management.url, "-k", SETUP_KEY, "--interface-name", "test0")
    assert (near.code, near.err) == (0, "")

    async def far(_server):
        return [ip_address("203.0.113.1")]

    monkeypatch.setattr("meshloom_agent.daemon_service.addresses_of", far)
    done = await meshloom("up", "-m", management.url, "--mtu", "1400")
    assert done.code == 0
    assert "warning: " in done.err
    assert "without TLS" in done.err
