"""Paths change under running traffic: cut, restored, killed, moved; what runs over them goes on."""

import re
import signal
from itertools import pairwise

import pytest

from meshloom.testing.deployment import BIN, AgentProgram, ServerProgram, is_direct, is_relayed
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

CUT = """
table inet cut {
  chain forward {
    type filter hook forward priority -10
    meta l4proto udp drop
  }
}
"""
INTERVAL = 0.1
"""Seconds between two pings, so between two answers at best."""


class Pings:
    """A ping that goes on, and the longest silence in its answers."""

    def __init__(self, host, address, log):
        self.log = log
        self.program = host.start("ping", "-n", "-D", "-i", str(INTERVAL), address, log=log)
        wait_until(self.times, 20, "the first answer")

    def times(self):
        return [float(at) for at in re.findall(r"^\[([\d.]+)\] \d+ bytes from", self.log.read_text(), re.MULTILINE)]

    def since(self, count):
        """How many answers came after the first *count*."""
        return len(self.times()) - count

    def longest_gap(self):
        return max(after - before for before, after in pairwise(self.times()))

    def stop(self):
        self.program.send_signal(signal.SIGINT)
        self.program.wait()


def pair_of(server, agent, nat):
    key = server.setup_key()
    one, two = agent("one", server.url, key, nat), agent("two", server.url, key, nat)
    assert one.ping(two.address, timeout=15)
    return one, two


def test_a_direct_path_that_is_cut_gives_way_to_the_relay_and_comes_back(internet, server, agent):
    one, two = pair_of(server, agent, NAT.PORT_RESTRICTED)
    one.wait_for("two", is_direct, 15, "is direct")
    router = internet.named("router-one")
    pings = Pings(one.host, two.address, internet.folder / "pings")
    router.nft(CUT)
    one.wait_for("two", is_relayed, 15, "goes through the relay")
    before = len(pings.times())
    wait_until(lambda: pings.since(before) > 10, 10, "pings go on through the relay")
    router.run("nft", "delete", "table", "inet", "cut")
    one.wait_for("two", is_direct, 60, "is direct again")
    before = len(pings.times())
    wait_until(lambda: pings.since(before) > 10, 10, "pings go on directly")
    pings.stop()
    print(f"longest gap {pings.longest_gap():.2f} s")
    assert pings.longest_gap() < 5 + INTERVAL


def test_what_is_direct_outlives_its_relay_and_what_is_relayed_comes_back_with_it(internet, server, agent):
    one, two = pair_of(server, agent, NAT.SYMMETRIC)
    one.wait_for("two", is_relayed, 15, "is relayed")
    server.program.kill()
    server.program.wait()
    one.wait_for("two", lambda peer: not is_relayed(peer), 15, "has no path")
    server.start()
    one.wait_for("two", is_relayed, 30, "is relayed again")
    assert one.ping(two.address, timeout=10)


def test_a_relay_among_others_that_is_killed_is_replaced_under_traffic(internet, agent):
    secret = {"MESHLOOM_RELAY_SECRET": "a secret that the relays share"}
    urls, relays = [], []
    for name in ("relay1", "relay2"):
        host = internet.host(name)
        url = f"rel://{host.address}:80"
        urls.append(url)
        program = host.start(
            BIN / "meshloom-relay",
            *("--listen", f"{host.address}:80", "--relay-public-url", url, "--metrics", "127.0.0.1:9090"),
            *("--data-dir", internet.folder / name),
            log=internet.folder / f"{name}.log",
            **secret,
        )
        relays.append(program)
    made = ServerProgram(internet.host("server"), internet.folder / "server")
    made.start("--relay-enabled", "false", "--relay-urls", ",".join(urls), "--relay-health-interval", "1", **secret)
    made.set_up()
    one, two = pair_of(made, agent, NAT.SYMMETRIC)
    one.wait_for("two", is_relayed, 15, "is relayed")
    used = urls.index(one.peer("two")["relayAddress"])
    pings = Pings(one.host, two.address, internet.folder / "pings")
    relays[used].kill()
    relays[used].wait()
    other = urls[1 - used]
    one.wait_for("two", lambda peer: is_relayed(peer) and peer["relayAddress"] == other, 40, f"is relayed by {other}")
    before = len(pings.times())
    wait_until(lambda: pings.since(before) > 5, 20, "pings go on through the other")
    pings.stop()
    print(f"longest gap {pings.longest_gap():.2f} s")


@pytest.mark.parametrize("nat", [NAT.PORT_RESTRICTED, NAT.UDP_BLOCKED])
def test_a_machine_that_roams_under_traffic_keeps_its_sessions(internet, server, agent, nat):
    one, two = pair_of(server, agent, nat)
    wanted = is_direct if nat is NAT.PORT_RESTRICTED else is_relayed
    one.wait_for("two", wanted, 15, "has its path")
    pings = Pings(one.host, two.address, internet.folder / "pings")
    two.host.start("iperf3", "--server", "--one-off", "--bind", two.address)
    wait_until(lambda: "5201" in two.host.run("ss", "-Hltn"), 5, "iperf3 listens")
    stream = one.host.start(
        *("iperf3", "--client", two.address, "--time", "25", "--bitrate", "5M", "--json"),
        log=internet.folder / "iperf",
    )
    network = two.host.address.packed[:3]
    for step in range(1, 6):
        before = len(pings.times())
        moved = ".".join(map(str, network)) + f".{100 + step}"
        two.host.ip("address flush dev eth0 scope global")
        two.host.ip(f"address add {moved}/24 dev eth0")
        two.host.ip("route add default via " + ".".join(map(str, network)) + ".1")
        wait_until(lambda before=before: pings.since(before) > 20, 20, f"pings go on after step {step}")
    assert stream.wait(timeout=60) == 0, (internet.folder / "iperf").read_text()[-2000:]
    pings.stop()
    print(f"longest gap {pings.longest_gap():.2f} s")
    assert pings.longest_gap() < (5 if nat is NAT.PORT_RESTRICTED else 2) + INTERVAL
    one.wait_for("two", wanted, 30, "has its path again")


PROXY = """
Port 8888
Listen {address}
Timeout 600
Allow 0.0.0.0/0
ConnectPort 80
"""

ONLY_THE_PROXY = """
table inet only {{
  chain forward {{
    type filter hook forward priority -10; policy drop;
    ip daddr {proxy} tcp dport 8888 accept
    ct state established accept
  }}
}}
"""


def test_a_machine_that_only_reaches_a_proxy_is_relayed(internet, server, agent):
    proxy = internet.host("proxy")
    config = internet.folder / "tinyproxy.conf"
    config.write_text(PROXY.format(address=proxy.address))
    proxy.start("tinyproxy", "-d", "-c", config, log=internet.folder / "proxy.log")
    wait_until(lambda: "8888" in proxy.run("ss", "-Hltn"), 5, "the proxy listens")
    key = server.setup_key()
    one = agent("one", server.url, key, NAT.PORT_RESTRICTED)
    router = internet.router("router-two")
    router.translate(NAT.PORT_RESTRICTED)
    router.nft(ONLY_THE_PROXY.format(proxy=proxy.address))
    url = f"http://{proxy.address}:8888"
    two = AgentProgram(router.host("two"), internet.folder / "two", https_proxy=url, http_proxy=url, grpc_proxy=url)
    two.start()
    two.up(server.url, key)
    assert two.ping(one.address, timeout=15)
    assert one.ping(two.address, timeout=5)
    one.wait_for("two", is_relayed, 10, "is relayed")
