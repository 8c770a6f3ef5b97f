"""Our relay is NetBird's own on the wire: unmodified clients meet through it, and it and theirs can be exchanged."""

import pytest

from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(240)]


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
