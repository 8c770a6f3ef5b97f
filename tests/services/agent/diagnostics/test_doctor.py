"""The doctor's checks, each on facts that are well and facts that are not; and the command."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import anyio
import attrs
import pytest

from meshloom.inventory import Offer
from meshloom.protocol.stun import Kind, answer, is_stun, parse
from meshloom_agent.diagnostics import checks
from meshloom_agent.diagnostics.checks import CHECKS, Finding, Level, as_text, examine
from meshloom_agent.diagnostics.facts import Facts, StateFolder
from meshloom_agent.diagnostics.host import HostNetwork, Interface, Route, gather_network
from meshloom_agent.diagnostics.known import Known
from meshloom_agent.diagnostics.netcheck import Netcheck, Reached
from meshloom_agent.diagnostics.path_mtu import PathMtu, padded_request, probe, sizes
from meshloom_agent.diagnostics.web import WebAnswer
from meshloom_agent.rivalry import WORDS

NOW = datetime(2026, 3, 3, 10, 0, 0, tzinfo=UTC)
WEB = WebAnswer("https://mesh.test", 200, {"date": "Tue, 03 Mar 2026 10:00:00 GMT"}, received=NOW)
ETH = Interface("eth0", mtu=1500, addresses=("192.168.1.7/24",))
OURS = Interface("ml0", "tun", 1280, addresses=("100.70.0.1/16",))
DEFAULT = Route(ip_network("0.0.0.0/0"), "eth0", "192.168.1.1")
TRANSPORTS = tuple(
    Offer("transport", name, "", name == "picows", wire)
    for name, wire in (("picows", "websocket"), ("websocket", "websocket"), ("quic", "quic"))
)
WELL = Facts(
    known=Known(
        "https://mesh.test", "https://mesh.test", ("mesh.test:3478",), (), "ml0", 0, 51820, ("100.70.0.0/16",),
        "/var/x", "1.0",
    ),
    version="1.0",
    state="Connected",
    is_root=True,
    tunnels=(Offer("tunnel", "kernel", "", chosen=True),),
    transports=TRANSPORTS,
    folder=StateFolder("/var/x", 0o700, 1 << 30, writable=True),
    network=HostNetwork((ETH, OURS), (DEFAULT, Route(ip_network("100.70.0.0/16"), "ml0")), (), []),
    names={"mesh.test": ""},
    netcheck=Netcheck(
        udp=True, servers=(Reached("management", "https://mesh.test", 0.01), Reached("stun", "s:1", 0.01)), web=WEB
    ),
    path=PathMtu(1312, 1312),
)  # fmt: skip


def changed(facts=WELL, known=None, network=None, netcheck=None, folder=None, **more):
    for name, changes in (("known", known), ("network", network), ("netcheck", netcheck), ("folder", folder)):
        if changes:
            more[name] = attrs.evolve(getattr(facts, name), **changes)
    return attrs.evolve(facts, **more)


def with_interface(interface, *routes):
    return changed(network={"interfaces": (ETH, OURS, interface), "routes": (*WELL.network.routes, *routes)})


def late(seconds):
    return changed(netcheck={"web": attrs.evolve(WEB, received=NOW + timedelta(seconds=seconds))})


def test_where_all_is_well_nothing_is_found():
    assert [each for each in examine(WELL) if each.level is not Level.OK] == []
    assert len({each.name for each in examine(WELL)}) == len(CHECKS)


UNTRUSTED = attrs.evolve(WEB, headers={}, distrust="certificate is not yet valid")
NO_BACKEND = (Offer("tunnel", "wireguard-go", "/dev/net/tun does not exist", chosen=False),)
UNENFORCED = ("not enforced by this machine yet: ports of policies; peers that it is connected with reach everything",)
TAKEN = "--wireguard-port 4000: ml0: the UDP port is taken; 4123 is used instead: free the port"
CASES = [
    (checks.port, changed(warnings=(TAKEN,)), Level.WARNING, "4123 is used instead", "free the port"),
    (checks.management, changed(warnings=(TAKEN,)), Level.OK, "nothing", ""),
    (checks.ipv6, changed(no_ipv6="this kernel has no IPv6"), Level.NOTE, "no IPv6 inside the mesh: this", "sysctl"),
    (checks.own_key, changed(warnings=(WORDS,)), Level.ERROR, "another machine seems", "delete private.key"),
    (checks.daemon, changed(daemon_trouble="no daemon listens on /x"), Level.ERROR, "no daemon", "service start"),
    (checks.daemon, changed(daemon_trouble="permission denied: use sudo"), Level.ERROR, "use sudo", "socket_group"),
    (checks.daemon, changed(version="2.0"), Level.WARNING, "version 1.0, this program 2.0", "restart"),
    (checks.connection, changed(state="Idle"), Level.WARNING, "not to be connected", "meshloom up"),
    (checks.connection, changed(state="NeedsLogin"), Level.ERROR, "does not know", "--setup-key"),
    (checks.connection, changed(state="Connecting", waiting="waiting for signal"), Level.ERROR, "for signal", "below"),
    (checks.connection, changed(daemon_trouble="away"), Level.UNKNOWN, "no daemon", ""),
    (checks.management, changed(warnings=("the overlay 0.0.0.0/1 is refused",)), Level.WARNING, "0.0.0.0/1", "ask"),
    (checks.management, changed(daemon_trouble="away"), Level.UNKNOWN, "no daemon", ""),
    (checks.management, changed(warnings=UNENFORCED), Level.OK, "nothing", ""),
    (checks.policies, changed(warnings=UNENFORCED), Level.WARNING, "ports of policies", "own firewall"),
    (checks.policies, changed(daemon_trouble="away"), Level.UNKNOWN, "no daemon", ""),
    (checks.tunnel, changed(tunnels=NO_BACKEND, has_tun=False), Level.ERROR, "/dev/net/tun", "modprobe tun"),
    (checks.tunnel, changed(tunnels=()), Level.ERROR, "no backend", "wireguard-go"),
    (checks.tunnel, changed(tunnels=NO_BACKEND, is_root=False), Level.UNKNOWN, "without root", ""),
    (checks.plugins, changed(plugin_trouble="plugin 'acme' cannot be loaded: x"), Level.ERROR, "'acme'", "DISABLED"),
    (checks.transports, changed(transports=()), Level.ERROR, "cannot be reached by WebSocket or QUIC: no such",
     "pip install meshloom-transport-websocket meshloom-transport-quic"),
    (checks.transports, changed(transports=TRANSPORTS[:2]), Level.WARNING, "by QUIC", "meshloom-transport-quic"),
    (checks.transports, changed(transports=(*TRANSPORTS[:2], attrs.evolve(TRANSPORTS[2], objection="no aioquic"))),
     Level.WARNING, "quic: no aioquic", "meshloom-transport-quic"),
    (checks.transports, changed(transports=TRANSPORTS[1:]), Level.OK, "by WebSocket and by QUIC", ""),
    (checks.state_folder, changed(folder={"mode": 0o755}), Level.ERROR, "others can look", "chmod 700 /var/x"),
    (checks.state_folder, changed(folder={"free": 5 << 20}), Level.ERROR, "5.0 MiB left", "make room"),
    (checks.state_folder, changed(folder={"writable": False}), Level.ERROR, "cannot be written", "mount"),
    (checks.state_folder, changed(folder={"mode": -1}), Level.UNKNOWN, "not there", ""),
    (checks.clock, late(60), Level.WARNING, "60 s ahead of", "set-ntp"),
    (checks.clock, late(-3600), Level.ERROR, "3600 s behind", "set-ntp"),
    (checks.clock, changed(netcheck={"web": UNTRUSTED}), Level.WARNING, "not yet valid", "set-ntp"),
    (checks.clock, changed(netcheck={"web": None}), Level.UNKNOWN, "no time", ""),
    (checks.names, changed(names={"mesh.test": "Name not known"}), Level.ERROR, "mesh.test: Name not", "resolv.conf"),
    (checks.servers, changed(netcheck={"portal": "redirected"}), Level.ERROR, "captive portal", "log in"),
    (checks.servers, changed(netcheck={"servers": (Reached("relay", "rels://r", None, "refused"),)}), Level.ERROR,
     "relay rels://r: refused", "TCP port"),
    (checks.servers, changed(netcheck={"servers": ()}), Level.UNKNOWN, "none is known", "--management-url"),
    (checks.udp, changed(netcheck={"udp": False}), Level.WARNING, "only relayed paths", "UDP out to any port"),
    (checks.udp, changed(netcheck={"udp": None, "udp_unknown": "no server"}), Level.UNKNOWN, "no server", ""),
    (checks.firewall, changed(network={"ruleset": None}, is_root=False), Level.UNKNOWN, "needs root", ""),
    (checks.firewall, changed(network={"legacy_tables": ("filter",)}), Level.NOTE, "old iptables", "iptables-legacy"),
    (checks.mtu, with_interface(attrs.evolve(ETH, name="ppp0", mtu=1340), attrs.evolve(DEFAULT, interface="ppp0")),
     Level.WARNING, "ppp0 has an MTU of 1340, a tunnel of 1280 needs 1360", "--mtu 1260"),
    (checks.mtu, changed(path=PathMtu(1312, 1252)), Level.WARNING, "of 1312 bytes", "--mtu 1220"),
    (checks.mtu, changed(path=None), Level.UNKNOWN, "without UDP", ""),
    (checks.overlap, with_interface(Interface("cgn0", addresses=("100.70.9.1/24",))), Level.WARNING,
     "cgn0 has 100.70.9.1/24", "network_range"),
    (checks.overlap, with_interface(ETH, Route(ip_network("100.64.0.0/10"), "tailscale0", table=52)), Level.WARNING,
     "a route to 100.64.0.0/10 leads over tailscale0", "network_range"),
    (checks.overlap, changed(with_interface(Interface("cgn0", addresses=("100.99.9.1/24",))), known={"overlay": ()}),
     Level.NOTE, "cgn0 has 100.99.9.1/24", "network_range"),
    (checks.other_vpn, with_interface(Interface("corp", "wireguard"), Route(ip_network("0.0.0.0/1"), "corp")),
     Level.WARNING, "corp takes all traffic", "stop it"),
    (checks.other_vpn, with_interface(Interface("tailscale0", "tun")), Level.NOTE, "tailscale0", ""),
    (checks.other_vpn, changed(network={"resolv_conf": "# written by Tailscale\n"}), Level.NOTE, "tailscale", "own"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "facts", "level", "text", "fix"), CASES)
def test_what_breaks_is_found_and_its_fix_told(check, facts, level, text, fix):
    found = check(facts)
    assert found.level is level, found
    assert text in found.text
    assert fix in found.fix
    assert bool(found.fix) or level < Level.WARNING, "a warning says what to do"


def test_every_check_has_a_case():
    assert {each[0] for each in CASES} == set(CHECKS)


def test_the_text_has_a_line_each_and_the_fixes():
    found = [Finding("one", Level.OK, "fine"), Finding("two", Level.ERROR, "broken", "mend it")]
    assert as_text(found) == "[ok] one: fine\n[error] two: broken\n    fix: mend it"


def test_this_host_can_be_looked_at():
    found = gather_network()
    (loopback,) = [each for each in found.interfaces if each.name == "lo"]
    assert "127.0.0.1/8" in loopback.addresses
    assert loopback.mtu >= 1280
    assert all(rule.partition(":")[0].isdecimal() for rule in found.rules)


@pytest.mark.parametrize("size", [*range(40, 1500, 116), 1500])
def test_probes_have_just_the_size_that_is_asked_about(size):
    assert len(padded_request(b"transaction!", size)) == size
    assert parse(padded_request(b"transaction!", size)).kind == Kind.REQUEST


def test_the_wanted_size_is_tried_first():
    assert sizes(1312)[0] == 1312
    assert sizes(9000)[0] == 1500
    assert all(size % 4 == 0 for size in sizes(1311))


@pytest.mark.anyio
async def test_the_largest_datagram_of_a_path_is_found():
    async with anyio.create_task_group() as tasks, await anyio.create_udp_socket(local_host="127.0.0.1") as server:
        limit = 1400

        async def serve():
            async for data, source in server:
                if is_stun(data) and len(data) <= limit:
                    await server.sendto(answer(data, source), *source)

        tasks.start_soon(serve)
        port = server.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610
        assert await probe("127.0.0.1", port, 1312) == PathMtu(1312, 1312)
        limit = 1260
        assert await probe("127.0.0.1", port, 1312) == PathMtu(1312, 1252)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_command_says_the_worst_by_its_exit_code(joined, meshloom, run, tmp_path):
    done = await meshloom("doctor", "--no-ask-gateway", "--json")
    found = {each["name"]: each for each in json.loads(done.out)}
    assert found["daemon"]["level"] == found["connection"]["level"] == "ok"
    levels = {each["level"] for each in found.values()}
    assert done.code == (1 if "error" in levels else 6 if "warning" in levels else 0)
    alone = await run(
        "doctor", "--no-ask-gateway", "--state-dir", str(tmp_path / "no"), "--daemon-addr", f"unix://{tmp_path}/no"
    )
    assert alone.code == 1
    assert "[error] daemon: no daemon listens" in alone.out
    assert "    fix: meshloom service start" in alone.out
