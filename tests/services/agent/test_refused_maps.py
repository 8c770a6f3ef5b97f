"""Maps that the tunnel refuses: management is asked all the same, and what was good stays."""

import json
from contextlib import asynccontextmanager
from ipaddress import ip_interface

import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom_agent import sync
from meshloom_agent.backoff import Backoff
from meshloom_agent.daemon import Daemon
from meshloom_agent.files import StateDir
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"
GOOD, BAD = "100.64.0.1/16", "198.18.0.1/16"
"""The kernel of these tests refuses the second one, for a reason that the agent cannot know."""


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waiting is not what is tested."""
    monkeypatch.setattr(sync, "Backoff", lambda **_: Backoff(first=0.1, longest=0.5))


@pytest.fixture(autouse=True)
def kernel(air):
    air.refusal = lambda state: "Invalid argument" if ip_interface(BAD) in state.addresses else ""
    return air


@pytest.fixture
async def up(joined, daemon, until):
    await until(lambda: daemon.report.state == CONNECTED and daemon.files.last_map() is not None)
    return daemon


def key_of(daemon):
    return daemon.files.key().public.text


def refused(management, own, *remotes, serial=100):
    made = management.map_of(own, remotes, serial=serial)
    made.NetworkMap.peerConfig.address = BAD
    return made


def kept_address(daemon):
    return daemon.files.last_map().NetworkMap.peerConfig.address


@asynccontextmanager
async def restarted(up, tunnels, prepare=lambda: None):
    """The same machine after a restart."""
    await up.pause()
    prepare()
    async with (made := Daemon(StateDir(up.files.path), tunnels.chosen)).running():
        yield made


async def test_a_kept_map_that_the_tunnel_refuses_does_not_keep_management_from_being_asked(
    up, management, until, tunnels
):
    bad = refused(management, key_of(up), serial=up.files.last_map().NetworkMap.Serial)

    async with restarted(up, tunnels, lambda: up.files.keep_map(bad.SerializeToString())) as again:
        await until(lambda: again.report.state == CONNECTED and again.report.addresses, 20)
        assert again.report.addresses == (ip_interface(GOOD),)
        await until(lambda: kept_address(again) == GOOD)
        assert not again.report.warnings


async def test_while_management_is_away_too_it_is_said_and_management_is_asked_again_and_again(
    up, management, until, tunnels
):
    bad = refused(management, key_of(up))

    def break_map():
        up.files.keep_map(bad.SerializeToString())

    await management.stop()
    async with restarted(up, tunnels, break_map) as again:
        await until(lambda: again.report.refused.get("tunnel"))
        assert "the kept network map is not used" in again.report.warnings[0]
        assert "Invalid argument" in again.report.warnings[0]
        assert again.report.addresses == ()
        assert tunnels.opened["test0"].state.addresses == ()
        lost = again.report.counters.failures
        management.serial = 100
        await management.start()
        await until(lambda: again.report.state == CONNECTED and again.report.addresses, 20)
        assert again.report.addresses == (ip_interface(GOOD),)
        assert again.report.counters.failures == lost == 0
        assert not again.report.warnings


async def test_a_new_map_that_the_tunnel_refuses_leaves_the_last_good_one_and_is_said(
    connected, daemon, management, meshloom, until
):
    own = key_of(daemon)
    (peer,) = daemon._engine._mesh.peers
    await until(lambda: daemon.files.last_map() is not None)
    management.tell(own, refused(management, own))
    await until(lambda: daemon.report.refused.get("tunnel"))
    assert daemon._engine._tunnel.state.addresses == (ip_interface(GOOD),)
    assert daemon.report.addresses == (ip_interface(GOOD),)
    assert peer in daemon._engine._tunnel.state.peers
    assert daemon.report.counters.failures == 0
    assert daemon.report.state == CONNECTED
    said = (await meshloom("status")).out
    assert "Warning: the newest network map is not used" in said
    assert "Invalid argument" in said
    assert "the last good one stays" in said
    doctor = json.loads((await meshloom("doctor", "--json", "--no-ask-gateway")).out)
    (finding,) = [each for each in doctor if each["name"] == "management"]
    assert (finding["level"], "the newest network map is not used" in finding["text"]) == ("warning", True)
    assert kept_address(daemon) == GOOD
    management.tell(own, management.map_of(own, [management.remote(peer.text)], serial=101))
    await until(lambda: not daemon.report.warnings)


async def test_what_the_tunnel_refused_is_not_the_map_of_the_next_start(up, management, until, tunnels):
    own = key_of(up)
    management.tell(own, refused(management, own))
    await until(lambda: up.report.refused.get("tunnel"))
    await management.stop()
    async with restarted(up, tunnels) as again:
        await until(lambda: again.report.addresses == (ip_interface(GOOD),))
        assert kept_address(again) == GOOD


async def test_the_number_of_a_refused_map_does_not_count(up, management, until):
    own = key_of(up)
    management.tell(own, refused(management, own, serial=2**63))
    await until(lambda: up.report.refused.get("tunnel"))
    maps = up.report.counters.maps
    management.tell(own, management.map_of(own, [], serial=101))
    await until(lambda: up.report.counters.maps == maps + 1)
    await until(lambda: not up.report.warnings)


async def test_no_path_is_touched_by_a_map_that_the_tunnel_refuses(connected, daemon, management, until, tunnels):
    own, mesh = key_of(daemon), daemon._engine._mesh
    ((peer, connection),) = ((each.other, each) for each in mesh._connections)
    sent = daemon.report.counters.sent.copy()
    management.tell(own, refused(management, own))
    await until(lambda: daemon.report.refused.get("tunnel"))
    assert mesh._connections.get(peer) is connection
    assert daemon.report.counters.sent["offer"] == sent["offer"]
    applied = len(tunnels.opened["test0"].applied)
    daemon._engine._apply_soon()  # as when a path has changed
    await until(lambda: len(tunnels.opened["test0"].applied) > applied)
    assert peer in tunnels.opened["test0"].state.peers


async def test_a_first_map_that_the_tunnel_refuses_is_followed_by_one_that_it_takes(
    daemon, management, meshloom, until, tunnels
):
    good = management.config
    management.config = lambda key: pb.PeerConfig(address=BAD, fqdn="x.mesh.test")
    await meshloom("login", "-m", management.url, "-k", SETUP_KEY, "--interface-name", "test0")
    await daemon.up()
    await until(lambda: daemon.report.refused.get("tunnel"))
    assert daemon.files.last_map() is None
    assert daemon.report.addresses == ()
    management.config = good
    management.everyone()
    await until(lambda: daemon.report.addresses == (ip_interface(GOOD),), 20)
    await until(lambda: daemon.report.state == CONNECTED)
    assert not daemon.report.warnings
    assert daemon.report.counters.failures == 0


async def test_a_tunnel_that_refuses_everything_is_a_failure_of_this_machine(up, management, until, air):
    own = key_of(up)
    air.refusal = lambda _state: "Operation not permitted"
    management.tell(own, management.map_of(own, [], serial=100))
    await until(lambda: up.report.counters.failures)
    assert "Operation not permitted" in up.report.failure
    air.refusal = lambda _state: ""
    await until(lambda: up.report.state == CONNECTED, 20)


@pytest.mark.parametrize("mtu", [5, 1279, 65536, -1])
async def test_an_mtu_that_no_interface_takes_is_said(up, management, meshloom, until, mtu):
    own = key_of(up)
    bad = management.map_of(own, [], serial=100)
    bad.NetworkMap.peerConfig.mtu = mtu
    management.tell(own, bad)
    await until(lambda: up.report.refused.get("mtu"))
    assert f"Warning: the MTU {mtu} is not used: 1280 to 65535" in (await meshloom("status")).out
    good = management.map_of(own, [], serial=101)
    good.NetworkMap.peerConfig.mtu = 1400
    management.tell(own, good)
    await until(lambda: not up.report.warnings)
