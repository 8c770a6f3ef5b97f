"""What the network does to paths: packets lost, mappings forgotten, signal away, a peer that floods the relay."""

import re
import sys
import time
from itertools import pairwise

import pytest

from meshloom.testing.deployment import BIN, STARTED, AgentProgram, ServerProgram, is_direct, is_relayed
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

LOSE = """
table inet lose {{
  chain forward {{
    type filter hook forward priority -10
    meta l4proto udp numgen random mod 100 < {share} drop
  }}
}}
"""
INTERVAL = 0.1
FLOOD = """
import socket, sys, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.monotonic() + 8
while time.monotonic() < end:
    for _ in range(40):
        flood.sendto(bytes(1200), (sys.argv[1], 9))
    time.sleep(0.01)
"""
"""Some 4.8 MB a second, for 8 s."""


class Pings:
    """A ping that goes on."""

    def __init__(self, host, address, log):
        self.log = log
        self.program = host.start("ping", "-n", "-D", "-i", str(INTERVAL), address, log=log)
        wait_until(self.times, 20, "the first answer")

    def times(self):
        return [float(at) for at in re.findall(r"^\[([\d.]+)\] \d+ bytes from", self.log.read_text(), re.MULTILINE)]

    def during(self, seconds, holds):
        """The share of pings that are answered in so many seconds, in each of which something must hold."""
        before, began = len(self.times()), time.monotonic()
        wait_until(lambda: not holds() or time.monotonic() - began > seconds, seconds + 5, "time passes", every=0.25)
        assert holds()
        return (len(self.times()) - before) * INTERVAL / (time.monotonic() - began)

    def longest_gap(self):
        return max(after - before for before, after in pairwise(self.times()))

    def stop(self):
        self.program.terminate()
        self.program.wait()


def connected(agent, name, fact=lambda peer: peer["status"] == "Connected"):
    return lambda: fact(agent.peer(name))


def lost(router, share):
    """From now on the router loses so many in a hundred UDP packets, each way."""
    router.run("nft", "delete", "table", "inet", "lose", check=False)
    router.nft(LOSE.format(share=share))


def test_a_direct_path_that_loses_packets_stays(internet, server, agent):
    key = server.setup_key()
    one, two = (agent(name, server.url, key) for name in ("one", "two"))
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 15, "is direct")
    pings = Pings(one.host, two.address, internet.folder / "pings")
    for share, answered in ((10, 0.6), (30, 0.25)):
        lost(internet.named("router-one"), share)
        seen = pings.during(6, connected(one, "two"))
        print(f"{share} % lost each way: {seen:.0%} of the pings are answered")
        assert seen > answered
    pings.stop()


def test_a_relay_by_quic_on_a_network_that_loses_packets_stays(internet, server, behind):
    key = server.setup_key()
    made = {}
    for name in ("one", "two"):
        made[name] = AgentProgram(
            behind(name, NAT.SYMMETRIC), internet.folder / name, MESHLOOM_TRANSPORT_BACKENDS="quic"
        )
        made[name].start()
        made[name].up(server.url, key)
    one, two = made.values()
    lost(internet.named("router-two"), 10)
    assert one.ping(two.address, count=5, timeout=15)
    one.wait_for("two", is_relayed, 15, "is relayed")
    assert one.peer("two")["relayTransport"] == "quic"
    pings = Pings(one.host, two.address, internet.folder / "pings")
    for share, answered in ((10, 0.6), (30, 0.25)):
        lost(internet.named("router-two"), share)
        seen = pings.during(6, connected(one, "two"))
        print(f"{share} % lost each way: {seen:.0%} of the pings are answered")
        assert seen > answered
    pings.stop()


def test_a_nat_that_forgets_after_twenty_seconds_does_not_end_a_silent_direct_path(internet, server, agent):
    key = server.setup_key()
    one, two = (agent(name, server.url, key) for name in ("one", "two"))
    for name in ("router-one", "router-two"):
        for kind in ("udp_timeout", "udp_timeout_stream"):
            internet.named(name).run("sysctl", "-qw", f"net.netfilter.nf_conntrack_{kind}=20")
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 15, "is direct")
    began = time.monotonic()
    wait_until(
        lambda: not is_direct(one.peer("two")) or time.monotonic() - began > 26, 40, "time passes in silence", every=0.5
    )
    assert is_direct(one.peer("two"))
    assert is_direct(two.peer("one"))
    assert one.ping(two.address, timeout=1)


def test_paths_outlive_signal_and_those_that_were_missing_come_with_it(internet, agent):
    host = internet.host("signal")

    def start_signal():
        started = host.start(
            *(BIN / "meshloom-signal", "--listen", f"{host.address}:80", "--metrics", "127.0.0.1:9090"),
            *("--data-dir", internet.folder / "signal-data"),
            log=internet.folder / "signal.log",
        )
        wait_until(lambda: f"{host.address}:80 " in host.run("ss", "-Hltn"), STARTED, "signal listens", every=0.1)
        return started

    program = start_signal()
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start("--signal-url", f"http://{host.address}:80")
    server.set_up()
    key = server.setup_key()
    one, two, three = (agent(name, server.url, key) for name in ("one", "two", "three"))
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 15, "is direct")
    pings = Pings(one.host, two.address, internet.folder / "pings")
    program.kill()
    program.wait()
    wait_until(lambda: not one.status()["signal"]["connected"], 15, "signal is away", every=0.1)
    assert not one.ping(three.address, timeout=2)
    assert pings.during(3, connected(one, "two", is_direct)) > 0.9
    program = start_signal()
    others = Pings(one.host, three.address, internet.folder / "others")
    one.wait_for("three", is_direct, 20, "is direct")
    others.stop()
    pings.stop()
    assert pings.longest_gap() < 1


def test_a_peer_that_floods_the_relay_is_held_to_its_rate_and_the_others_are_served(internet, agent):
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start("--relay-peer-rate", "200000")
    server.set_up()
    key = server.setup_key()
    one, two, three = (agent(name, server.url, key, NAT.SYMMETRIC) for name in ("one", "two", "three"))
    for each in (one, three):
        assert each.ping(two.address, timeout=15)
        each.wait_for("two", is_relayed, 15, "is relayed")
    pings = Pings(one.host, two.address, internet.folder / "pings")
    flood = three.host.start(sys.executable, "-c", FLOOD, two.address)
    seen = pings.during(6, connected(one, "two", is_relayed))
    assert flood.poll() is None
    pings.stop()
    print(f"{seen:.0%} of the pings are answered")
    assert seen > 0.9
    metrics = server.host.run("curl", "--silent", "http://127.0.0.1:9090/metrics")
    dropped = re.search(r'^meshloom_relay_dropped_total\{reason="rate limit"\} (\S+)', metrics, re.MULTILINE)
    assert float(dropped[1]) > 1000


def test_a_relayed_path_outlives_the_tokens_that_it_was_opened_with(internet, agent):
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start("--relay-token-lifetime", "1m")
    server.set_up()
    key = server.setup_key()
    one, two = (agent(name, server.url, key, NAT.SYMMETRIC) for name in ("one", "two"))
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_relayed, 15, "is relayed")
    pings = Pings(one.host, two.address, internet.folder / "pings")
    seen = pings.during(70, connected(one, "two", is_relayed))
    pings.stop()
    print(f"{seen:.0%} of the pings are answered, the longest gap is {pings.longest_gap():.1f} s")
    metrics = server.host.run("curl", "--silent", "http://127.0.0.1:9090/metrics")
    assert re.findall(r'^meshloom_relay_ended_total{reason="(.*)"}', metrics, re.MULTILINE) == []
    assert seen > 0.9


def test_a_machine_that_is_removed_is_gone_from_the_relay_at_once(internet, agent):
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start()
    server.set_up()
    key = server.setup_key()
    one, two = (agent(name, server.url, key, NAT.SYMMETRIC) for name in ("one", "two"))
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_relayed, 15, "is relayed")
    _, peers = server.api("GET", "/api/peers")
    (gone,) = (peer["id"] for peer in peers if peer["name"] == "two")
    assert server.api("DELETE", f"/api/peers/{gone}")[0] == 200

    def metrics():
        return server.host.run("curl", "--silent", "http://127.0.0.1:9090/metrics")

    wait_until(lambda: 'meshloom_relay_ended_total{reason="removed"} 1.0' in metrics(), 5, "the relay sent it away")
    wait_until(lambda: re.search(r'relay_peers\{transport="\w+"\} 1\.0', metrics()), 5, "one machine is left")
