"""Our relay is NetBird's own on the wire: unmodified clients meet through it, and it and theirs can be exchanged."""

import re
from itertools import pairwise

import pytest

from meshloom.testing.deployment import ServerProgram
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer]


def is_relayed(peer):
    return peer.get("status") == "Connected" and peer.get("connectionType") == "Relayed"


def test_two_unmodified_clients_meet_through_our_relay_and_again_after_its_restart(server, client):
    key = server.setup_key()
    one, two = (client(name, server.url, key, NAT.UDP_BLOCKED) for name in ("one", "two"))
    assert two.ping(one.address, timeout=40)
    one.wait_for("two", is_relayed, 40, "is relayed")
    two.wait_for("one", is_relayed, 40, "is relayed")
    address = server.url.replace("http://", "rel://")
    relays = one.status()["relays"]["details"]
    assert [relay["available"] for relay in relays if relay["uri"] == address] == [True]
    one.host.start("iperf3", "--server", "--one-off", "--bind", one.address)
    wait_until(lambda: "5201" in one.host.run("ss", "-Hltn"), 5, "iperf3 listens")
    assert "receiver" in two.host.run("iperf3", "--client", one.address, "--time", "3")

    server.program.terminate()
    assert server.program.wait(20) == 0
    server.start()
    wait_until(lambda: two.ping(one.address), 90, "they meet again", every=0.5)
    two.wait_for("one", is_relayed, 60, "is relayed")


def test_unmodified_clients_whose_tokens_end_each_minute_are_back_within_seconds(internet, client):
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start("--relay-token-lifetime", "1m")
    server.set_up()
    key = server.setup_key()
    one, two = (client(name, server.url, key, NAT.UDP_BLOCKED) for name in ("one", "two"))
    assert two.ping(one.address, timeout=40)
    one.wait_for("two", is_relayed, 40, "is relayed")
    log = internet.folder / "pings"
    pings = one.host.start("ping", "-n", "-D", "-i", "0.2", two.address, log=log)

    def ended():
        metrics = server.host.run("curl", "--silent", "http://127.0.0.1:9090/metrics")
        found = re.search(r'^meshloom_relay_ended_total\{reason="token ended"\} (\S+)', metrics, re.MULTILINE)
        return float(found[1]) if found else 0

    wait_until(lambda: ended() >= 4, 150, "the tokens of both have ended twice", every=1)
    wait_until(lambda: two.ping(one.address), 30, "they are back", every=0.5)
    one.wait_for("two", is_relayed, 30, "is relayed")
    pings.terminate()
    pings.wait()
    times = [float(at) for at in re.findall(r"^\[([\d.]+)\] \d+ bytes from", log.read_text(), re.MULTILINE)]
    gaps = sorted((after - before for before, after in pairwise(times)), reverse=True)
    print(f"longest gaps: {', '.join(f'{gap:.1f} s' for gap in gaps[:6])}")
    assert sum(gap for gap in gaps if gap > 1) < (times[-1] - times[0]) / 4
