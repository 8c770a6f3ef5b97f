"""The status: its words and their order, filters, checks, relays, and what is left out of it."""

import json

import pytest

from meshloom.rpc import daemon_pb2 as pb
from meshloom_agent.cli import render
from meshloom_agent.cli.text import as_text
from meshloom_agent.report import RelayReport

KEY = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq="


def answer(*peers, status="Connected"):
    made = pb.StatusResponse(status=status, daemonVersion="1.2.3")
    full = made.fullStatus
    full.managementState.URL, full.managementState.connected = "https://mesh.example.net:443", True
    full.signalState.URL, full.signalState.connected = "https://mesh.example.net:443", True
    full.localPeerState.IP, full.localPeerState.fqdn = "100.64.0.1/16", "box.mesh.test"
    full.localPeerState.ipv6, full.localPeerState.wgPort = "fd00::1/64", 51820
    full.peers.extend(peers)
    return made


def peer(name="desk", ip="100.64.0.2", status="Connected", **more):
    return pb.PeerState(fqdn=f"{name}.mesh.test", IP=ip, pubKey=KEY, connStatus=status, **more)


RELAYED = peer(
    "far",
    "100.64.0.3",
    relayed=True,
    relayAddress="rels://relay.example.net:443",
    relayTransport="quic",
    reason="no direct path: both NATs map by destination",
)


def test_the_lines_of_the_text_are_netbirds_in_its_order():
    lines = as_text(render.content(answer(peer())), detail=False).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "OS", "Daemon version", "CLI version", "Profile", "Management", "Signal", "Relays", "Nameservers", "FQDN",
        "IP", "IPv6", "Interface type", "Wireguard port", "Lazy connection",
        "SSH Server", "Networks", "Peers count",
    ]  # fmt: skip
    for line in ("Relays: 0/0 Available", "Nameservers: 0/0 Available", "Networks: -"):
        assert line in lines


def test_the_lines_of_a_peer_are_netbirds_in_its_order():
    detail = as_text(render.content(answer(RELAYED)), detail=True)
    block = detail[detail.index(" far.mesh.test:") : detail.index("\n\n")].splitlines()
    assert [line.strip().partition(":")[0] for line in block] == [
        "far.mesh.test", "IP", "Public key", "Status", "-- detail --", "Connection type", "Reason",
        "ICE candidate (Local/Remote)", "ICE candidate endpoints (Local/Remote)", "Relay server address",
        "Relay transport", "Last connection update", "Last WireGuard handshake", "Transfer status (received/sent)",
        "Networks", "Latency",
    ]  # fmt: skip
    assert "  Connection type: Relayed" in block
    assert "  Reason: no direct path: both NATs map by destination" in block
    assert "  Relay server address: rels://relay.example.net:443" in block
    assert "Events: No events recorded" in detail


@pytest.mark.parametrize(
    ("states", "counted"),
    [
        ((), "0/0 Connected"),
        (("Idle",), "1 asleep"),
        (("Idle", "Idle", "Connected"), "1/1 Connected, 2 asleep"),
        (("Idle", "Connecting", "Connected"), "1/2 Connected, 1 asleep"),
        (("Connecting",), "0/1 Connected"),
    ],
)
def test_peers_that_sleep_are_not_counted_as_missing(states, counted):
    made = answer(*(peer(f"p{at}", f"100.64.0.{at + 9}", state) for at, state in enumerate(states)))
    made.fullStatus.lazyConnectionEnabled = True
    assert as_text(render.content(made), detail=False).splitlines()[-1] == f"Peers count: {counted}"
    made.status = "Connecting"
    assert "asleep" not in as_text(render.content(made), detail=False), "without a connection nobody sleeps"


def test_the_text_says_neither_netbird_nor_quantum_resistance_and_the_keys_stay():
    made = render.content(answer(RELAYED))
    for word in ("NetBird", "Quantum"):
        assert word not in as_text(made, detail=True)
    assert {"netbirdIp", "quantumResistance", "quantumResistancePermissive"} <= set(made)
    assert {"netbirdIp", "quantumResistance"} <= set(made["peers"]["details"][0])


def test_relays_and_nameservers_tell_each_how_it_is():
    made = answer()
    made.fullStatus.relays.add(URI="rels://one:443", available=True, transport="ws")
    made.fullStatus.relays.add(URI="stun:two:3478", error="no answer")
    made.fullStatus.relays.add(URI="stun:three:3478")
    made.fullStatus.dns_servers.add(servers=["9.9.9.9:53"], enabled=True)
    made.fullStatus.dns_servers.add(servers=["10.0.0.1:53"], domains=["corp.test"], error="timeout")
    content = render.content(made)
    assert (content["relays"]["total"], content["relays"]["available"]) == (3, 1)
    assert content["relays"]["details"][0]["transport"] == "ws"
    assert "Relays: 1/3 Available\nNameservers: 1/2 Available" in as_text(content, detail=False)
    detail = as_text(content, detail=True)
    assert "Relays: \n  [rels://one:443] is Available by WebSocket\n" in detail
    assert "  [stun:two:3478] is Unavailable, reason: no answer\n  [stun:three:3478] is Checking..." in detail
    assert "  [9.9.9.9:53] for [.] is Available\n" in detail
    assert "  [10.0.0.1:53] for [corp.test] is Unavailable, reason: timeout" in detail


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, ["desk", "far", "lost"]),
        ({"ips": ("100.64.0.3", "100.64.0.4")}, ["far", "lost"]),
        ({"names": ("DES", "lost.mesh")}, ["desk", "lost"]),
        ({"names": ("mesh",)}, []),
        ({"state": "connecting"}, ["lost"]),
        ({"kind": "p2p"}, ["desk"]),
        ({"kind": "Relayed", "state": "Connected"}, ["far"]),
    ],
)
def test_filters_choose_peers_and_count_only_these(chosen, names):
    made = answer(peer(), RELAYED, peer("lost", "100.64.0.4", "Connecting", reason="waiting for its offer"))
    content = render.content(made, render.PeerFilter(**chosen))
    assert [each["fqdn"].partition(".")[0] for each in content["peers"]["details"] or []] == names
    assert content["peers"]["total"] == len(names)


def test_checks_say_what_is_missing():
    made = answer()
    assert [render.missing(made, wanted) for wanted in ("live", "ready", "startup")] == ["", "", ""]
    made.fullStatus.relays.add(URI="stun:one:3478", error="no answer")
    assert render.missing(made, "startup") == ""
    made.fullStatus.relays.add(URI="rels://one:443", error="refused")
    assert render.missing(made, "startup") == "no relay is available: rels://one:443: refused"
    made.fullStatus.signalState.connected = False
    made.fullStatus.signalState.error = "unreachable"
    assert render.missing(made, "startup") == "signal is not connected: unreachable"
    assert "NeedsLogin" in render.missing(answer(status="NeedsLogin"), "ready")
    assert render.missing(answer(status="NeedsLogin"), "live") == ""


@pytest.mark.anyio
async def test_the_command_filters_checks_and_anonymizes(connected, meshloom, daemon):
    assert (await meshloom("status", "-C", "startup")).code == 0
    shown = await meshloom("status", "-N", "peer2", "-S", "connected")
    assert " peer2.mesh.test:" in shown.out, "who chooses peers wants to see them"
    assert "Peers count: 0/0 Connected" in (await meshloom("status", "-T", "Relayed")).out
    assert (await meshloom("status", "-T", "carrier-pigeon")).code == 2
    hidden = await meshloom("status", "--json", "-A")
    assert json.loads(hidden.out)["peers"]["connected"] == 1
    for name in ("peer1", "peer2", "mesh.test", "100.64.0.1", "192.0.2.1"):
        assert name not in hidden.out
    await meshloom("down")
    failed = await meshloom("status", "-C", "startup")
    assert (failed.code, "management is not connected" in failed.err) == (1, True)


@pytest.mark.anyio
async def test_relays_and_what_peers_need_them_for_are_told(connected, meshloom, daemon):
    daemon.report.relays = (RelayReport("rels://relay.test:443", available=True, transport="quic"),)
    status = json.loads((await meshloom("status", "--json")).out)
    assert status["relays"]["details"] == [
        {"uri": "rels://relay.test:443", "available": True, "error": "", "transport": "quic"}
    ]
