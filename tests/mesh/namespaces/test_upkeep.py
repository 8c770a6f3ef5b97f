"""An interface that something else changes under a running agent is put back, with its path."""

import pytest

from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]

CHANGES = {
    "set down": ("ip", "link", "set", "ml0", "down"),
    "addresses flushed": ("ip", "address", "flush", "dev", "ml0"),
    "routes flushed": ("ip", "route", "flush", "dev", "ml0"),
    "port changed": ("wg", "set", "ml0", "listen-port", "40404"),
}
WITHIN = 10.0
TAKE_PORT = """
import socket, subprocess, sys, time
held = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
while True:
    subprocess.run(["wg", "set", "ml0", "listen-port", "40404"], check=True)
    try:
        held.bind(("::", int(sys.argv[1])))
        break
    except OSError:
        pass  # the agent was faster
print("held", flush=True)
time.sleep(600)
"""


def test_an_interface_that_is_changed_from_outside_is_put_back_within_seconds_and_said(server, agent):
    key = server.setup_key()
    one, two = agent("one", server.url, key), agent("two", server.url, key)
    wait_until(lambda: one.ping(two.address, timeout=1), 30, "they are connected", every=0.1)
    port = one.status()["wireguardPort"]
    for what, change in CHANGES.items():
        one.host.run(*change)
        wait_until(lambda: one.ping(two.address, timeout=1), WITHIN, f"{what}: put back", every=0.1)
        assert one.status()["daemonStatus"] == "Connected", what
        assert one.host.run("wg", "show", "ml0", "listen-port").strip() == str(port), what
    log = one.log.read_text()
    for words in ("it was down", "its address", "its route to", "WireGuard's port was 40404 instead of"):
        assert words in log


def test_a_sleeping_peer_whose_endpoint_is_changed_from_outside_is_woken_by_the_next_packet_nevertheless(server, agent):
    key = server.setup_key()
    one, two = agent("one", server.url, key), agent("two", server.url, key)
    one.wait_for("two", lambda peer: peer["status"] == "Idle", 30, "sleeps")
    assert one.status()["daemonStatus"] == "Connected"  # whoever asks has it compared
    doorbell = one.host.run("wg", "show", "ml0", "endpoints")
    one.host.run("wg", "set", "ml0", "peer", doorbell.split()[0], "endpoint", f"{server.host.address}:9")
    wait_until(lambda: one.host.run("wg", "show", "ml0", "endpoints") == doorbell, WITHIN, "it is put back", every=0.1)
    assert one.peer("two")["status"] == "Idle"
    assert one.ping(two.address, timeout=15)
    wait_until(lambda: "1 peer was reached elsewhere" in one.log.read_text(), WITHIN, "it is said")


def test_while_an_interface_cannot_be_put_back_nothing_says_that_all_is_well(server, agent):
    one = agent("one", server.url, server.setup_key())
    log = one.log.with_name("holder.log")
    holder = one.host.start("python3", "-c", TAKE_PORT, str(one.status()["wireguardPort"]), log=log)
    wait_until(lambda: "held" in log.read_text(), 10, "the port is taken")
    assert one.status()["daemonStatus"] != "Connected"
    assert "the UDP port is taken" in one.run("status")
    assert "the UDP port is taken" in one.run("up", check=False)
    assert "the UDP port is taken" in one.run("doctor", check=False)
    holder.kill()
    wait_until(lambda: one.status()["daemonStatus"] == "Connected", 30, "it is put back", every=0.1)
