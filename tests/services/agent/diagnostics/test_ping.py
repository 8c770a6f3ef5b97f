"""Echo requests: their bytes, the path that each round took, and the command."""

import struct
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.model.keys import PublicKey
from meshloom.tunnel import PeerStats
from meshloom_agent.diagnostics.echo import echo_request, is_reply, open_echo
from meshloom_agent.diagnostics.ping import Summary, found_peer, line, reply
from meshloom_agent.mesh import PathStatus, RemotePeer
from meshloom_agent.report import PeerReport

TOKEN = b"0123456789abcdef"


def peer(number, fqdn, *, relay="", state="Connected", reason=""):
    networks = (ip_network(f"100.64.0.{number}/32"), ip_network(f"fd00::{number}/128"), ip_network("10.9.0.0/16"))
    path = PathStatus(state, 0.0, reason, remote_address=("192.0.2.7", 51820), is_relayed=bool(relay))
    return PeerReport(
        PublicKey.of(bytes([number] * 32)),
        RemotePeer(networks, fqdn),
        path,
        PeerStats(),
        datetime.now(UTC),
        relay,
        "ws" if relay else "",
    )


def test_a_request_has_a_right_checksum():
    data = echo_request(4, 7, TOKEN, 0x1234)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert data[0] == 8
    assert echo_request(6, 7, TOKEN)[0] == 128


def test_only_the_reply_to_a_request_is_one():
    data = b"\0\0\0\0\0\0\0\7" + TOKEN
    header = bytes([0x45]) + bytes(19)
    assert is_reply(4, data, 7, TOKEN)
    assert is_reply(4, header + data, 7, TOKEN), "a raw socket gives the whole packet"
    assert is_reply(6, b"\x81" + data[1:], 7, TOKEN)
    assert not is_reply(4, data, 8, TOKEN)
    assert not is_reply(4, data[:-1] + b"?", 7, TOKEN)
    assert not is_reply(4, b"\x08" + data[1:], 7, TOKEN), "a request of our own, seen on loopback"


@given(st.binary(max_size=100), st.sampled_from([4, 6]))
def test_any_bytes_are_a_reply_or_none(data, version):
    assert is_reply(version, data, 1, TOKEN) in (True, False)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_this_host_answers(host):
    with open_echo(ip_address(host)) as echo:
        took = await echo.ask(1, 5.0)
    assert took is not None


def test_a_peer_is_found_by_all_of_its_names():
    peers = [peer(2, "desk.mesh.test"), peer(3, "lamp.mesh.test"), peer(4, "lamp.other.test")]
    for name in ("desk", "DESK.mesh.test", "desk.mesh.test.", "100.64.0.2", "fd00::2", peers[0].key.text):
        assert found_peer(peers, name) is peers[0], name
    assert found_peer(peers, "lamp") is None, "two have that name"
    assert found_peer(peers, "lamp.other.test") is peers[2]
    assert found_peer(peers, "10.9.0.0") is None, "a network is no machine"
    assert found_peer(peers, "nobody") is None


def test_rounds_say_how_long_over_which_path_and_why_it_is_no_better():
    direct = reply(peer(2, "desk.mesh.test"), 1, 0.0123)
    relayed = reply(peer(2, "desk.mesh.test", relay="rels://r:443", reason="UDP is blocked"), 2, 0.05)
    none = reply(peer(2, "desk.mesh.test", state="Connecting", reason="waiting for its offer"), 3, None)
    assert line(direct) == "1: 12.3 ms, direct, 192.0.2.7:51820"
    assert line(relayed) == "2: 50.0 ms, relayed through rels://r:443 by WebSocket (UDP is blocked)"
    assert line(none) == "3: no answer, no path (waiting for its offer)"
    assert not Summary.of([direct, relayed]).is_direct
    summary = Summary.of([none, relayed, direct])
    assert summary.is_direct
    assert summary.text.splitlines()[0] == "3 sent, 2 answered, 33% lost"
    assert summary.text.splitlines()[1] == "rtt min/avg/max/mdev = 12.3/31.1/50.0/18.9 ms"
    assert Summary.of([none]).text == "1 sent, 0 answered, 100% lost"


def test_a_peer_that_answers_is_not_told_to_be_offline():
    away = reply(peer(2, "desk.mesh.test", state="Idle", reason="offline; last seen 28 s ago"), 1, 0.0012)
    assert line(away) == "1: 1.2 ms, over a path that WireGuard found by itself"
    assert not away.reason


@pytest.fixture
def answering(monkeypatch):
    """Says which address of this host is asked in place of a peer's, since there is no device."""

    def at(address):
        monkeypatch.setattr("meshloom_agent.diagnostics.service.open_echo", lambda _: open_echo(ip_address(address)))

    at("127.0.0.77")
    return at


@pytest.fixture
async def neighbour(joined, management, agents, daemon, until):
    """Another agent, connected."""
    other = agents(1, enrol=False)
    management.peers[other.key.text] = "100.64.0.77"
    await until(lambda: other.connected and daemon._engine._mesh.connected)


@pytest.mark.anyio
async def test_the_command_pings_and_says_which_path(neighbour, answering, meshloom):
    done = await meshloom("ping", "peer7", "-c", "2", "-i", "0.05")
    assert done.code == 0, done.err
    head, one, two, count, times = done.out.splitlines()
    assert head == "peer7.mesh.test (100.64.0.77)"
    assert one.startswith("1: ")
    assert two.endswith(" ms, direct, 192.0.2.2:51820")
    assert count == "2 sent, 2 answered, 0% lost"
    assert times.startswith("rtt min/avg/max/mdev = ")
    until_direct = await meshloom("ping", "100.64.0.77", "--until-direct", "-i", "0.05")
    assert (until_direct.code, "1 sent, 1 answered" in until_direct.out) == (0, True)
    unknown = await meshloom("ping", "nobody")
    why = "error: nobody: no such peer, or no policy lets this machine reach it"
    assert (unknown.code, unknown.err.startswith(why)) == (1, True)
    for own in ("peer1", "peer1.mesh.test.", "100.64.0.1"):
        assert (await meshloom("ping", own)).err == "error: that is this machine"


@pytest.mark.anyio
async def test_answers_over_a_relay_are_not_direct(neighbour, answering, meshloom, daemon, monkeypatch):
    direct = daemon.peers

    async def peers():
        (known,) = await direct()
        path = attrs.evolve(known.path, is_relayed=True)
        return [attrs.evolve(known, path=path, relay="rels://relay.test:443", transport="ws")]

    monkeypatch.setattr(daemon, "peers", peers)
    done = await meshloom("ping", "peer7", "--until-direct", "-c", "2", "-i", "0.05")
    assert (done.code, "relayed through rels://relay.test:443 by WebSocket" in done.out) == (5, True)
    assert (await meshloom("ping", "peer7", "-c", "1")).code == 0
    assert "Connection type: Relayed" in (await meshloom("status", "-d")).out


@pytest.mark.anyio
async def test_no_answer_is_a_failure(neighbour, answering, meshloom):
    answering("255.255.255.77")  # nothing can be sent there
    done = await meshloom("ping", "peer7", "-c", "2", "-i", "0.05", "--timeout", "0.1")
    assert (done.code, "2 sent, 0 answered, 100% lost" in done.out) == (1, True), done
