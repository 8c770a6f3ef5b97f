"""A server that was restored counts its maps from an older number: whoever is connected follows it again."""

import json
from ipaddress import ip_interface

import pytest

from meshloom.model.keys import PrivateKey
from meshloom_agent import sync
from meshloom_agent.backoff import Backoff
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

OTHER = PrivateKey.of(b"o" * 32).public.text
BAD = ip_interface("198.18.0.1/16")


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


def serial(daemon):
    return daemon._engine._maps.serial


async def restored(management, up, until, first):
    """The server comes back with an older number, and *first* as its first map."""
    management.peers[OTHER] = "100.64.0.77"
    management.tell(key_of(up), management.map_of(key_of(up), [management.remote(OTHER)], serial=100))
    await until(lambda: serial(up) == 100)
    await management.stop()
    maps = up.report.counters.maps + up.report.counters.refused_maps
    management.serial, management.full = 5, lambda _key: first
    await management.start()
    await until(lambda: up.report.counters.maps + up.report.counters.refused_maps > maps, 20)


async def test_a_running_agent_follows_the_maps_of_a_restored_server(fresh, up, management, until):
    await restored(management, up, until, management.map_of(key_of(up), [], serial=6))
    await until(lambda: serial(up) == 6)
    management.tell(key_of(up), management.map_of(key_of(up), [], serial=7))
    await until(lambda: serial(up) == 7)
    assert not up.report.warnings


async def test_a_first_map_that_the_tunnel_refuses_keeps_no_later_one_of_that_stream_out(
    fresh, up, management, until, air
):
    air.refusal = lambda state: "Invalid argument" if BAD in state.addresses else ""
    first = management.map_of(key_of(up), [], serial=6)
    first.NetworkMap.peerConfig.address = str(BAD)
    await restored(management, up, until, first)
    await until(lambda: up.report.refused.get("tunnel"))
    management.tell(key_of(up), management.map_of(key_of(up), [], serial=7))
    await until(lambda: serial(up) == 7)
    assert not up.report.warnings


async def test_a_first_map_that_is_not_believed_keeps_no_later_one_of_that_stream_out(fresh, up, management, until):
    first = management.map_of(key_of(up), [], serial=6, empty=False)
    await restored(management, up, until, first)
    assert up.report.refused.get("network map")
    management.tell(key_of(up), management.map_of(key_of(up), [], serial=7))
    await until(lambda: serial(up) == 7)
    management.tell(key_of(up), management.map_of(key_of(up), [], serial=6))
    await until(lambda: up.report.refused.get("network map"))
    assert "is older than 7" in up.report.warnings[0], "within one stream maps are in order"


async def test_over_plain_http_without_a_proof_an_older_stream_is_refused_and_said(up, management, meshloom, until):
    await restored(management, up, until, management.map_of(key_of(up), [], serial=6))
    assert serial(up) == 100
    said = (await meshloom("status")).out
    assert "Warning: the newest one is not applied: its serial 6 is older than 100" in said
    assert "meshloom up --accept-server-key" in said
    doctor = json.loads((await meshloom("doctor", "--json", "--no-ask-gateway")).out)
    (finding,) = [each for each in doctor if each["name"] == "management"]
    assert finding["level"] == "warning"
    assert "older than 100" in finding["text"]
    assert (await meshloom("up", "--accept-server-key")).code == 0
    await until(lambda: serial(up) == 6, 20)
