"""The wire is NetBird's own, both ways: unmodified clients join our server, our agent joins an unmodified server."""

import time

import pytest

from meshloom.testing.deployment import is_direct
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer]


def test_two_unmodified_clients_connect_directly_through_our_server(server, client):
    key = server.setup_key()
    one, two = (client(name, server.url, key) for name in ("one", "two"))
    assert two.ping(one.address, timeout=30)
    one.wait_for("two", is_direct, 40, "is direct")
    two.wait_for("one", is_direct, 40, "is direct")
    seen = one.status()
    assert seen["management"]["connected"]
    assert seen["signal"]["connected"]
    one.host.start("iperf3", "--server", "--one-off", "--bind", one.address)
    wait_until(lambda: "5201" in one.host.run("ss", "-Hltn"), 5, "iperf3 listens")
    assert "receiver" in two.host.run("iperf3", "--client", one.address, "--time", "2")

    server.program.kill()
    server.program.wait()
    server.start()
    assert two.ping(one.address)
    wait_until(lambda: two.status()["management"]["connected"], 40, "the client syncs again", every=0.5)
    assert is_direct(two.peer("one"))

    _, peers = server.api("GET", "/api/peers")
    started = time.monotonic()
    assert server.api("DELETE", f"/api/peers/{next(peer['id'] for peer in peers if peer['name'] == 'two')}")[0] == 200
    one.wait_for("two", lambda peer: not peer, 10, "is gone")
    print(f"gone after {time.monotonic() - started:.2f} s")


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_our_agent_and_a_client_connect_directly_through_our_server(server, client, agent, first):
    key = server.setup_key()
    make = [lambda: agent("ours", server.url, key), lambda: client("theirs", server.url, key)]
    joined = [one() for one in (make if first == "ours" else reversed(make))]
    ours, theirs = joined if first == "ours" else reversed(joined)
    assert ours.ping(theirs.address, timeout=30)
    ours.wait_for("theirs", is_direct, 40, "is direct")
    theirs.wait_for("ours", is_direct, 40, "is direct")
    assert theirs.ping(ours.address)


def test_a_client_takes_the_goodbye_of_our_agent_for_a_heartbeat(server, client, agent):
    key = server.setup_key()
    theirs, ours = client("theirs", server.url, key), agent("ours", server.url, key)
    assert ours.ping(theirs.address, timeout=30)
    ours.wait_for("theirs", is_direct, 40, "is direct")
    theirs.wait_for("ours", is_direct, 40, "is direct")
    before = len(theirs.log.read_text())
    ours.run("down")
    theirs.wait_for("ours", lambda peer: peer["status"] != "Connected", 60, "is not connected")
    said = theirs.log.read_text()[before:]
    assert not [line for line in said.splitlines() if " ERRO " in line and "signal" in line.lower()], said
    ours.run("up")
    assert ours.ping(theirs.address, timeout=60)
    theirs.wait_for("ours", is_direct, 60, "is direct again")


@pytest.mark.parametrize("nat", [None, NAT.PORT_RESTRICTED])
def test_our_agent_and_a_client_connect_directly_through_an_unmodified_server(netbird_server, client, agent, nat):
    key = netbird_server.setup_key()
    theirs = client("theirs", netbird_server.url, key, nat)
    ours = agent("ours", netbird_server.url, key, nat)
    assert ours.ping(theirs.address, timeout=30)
    ours.wait_for("theirs", is_direct, 40, "is direct")
    theirs.wait_for("ours", is_direct, 40, "is direct")
    assert theirs.ping(ours.address)


def test_two_of_our_agents_connect_directly_through_an_unmodified_server(netbird_server, agent):
    key = netbird_server.setup_key()
    one, two = (agent(name, netbird_server.url, key) for name in ("one", "two"))
    assert one.ping(two.address, timeout=30)
    one.wait_for("two", is_direct, 30, "is direct")


def test_our_agent_that_an_unmodified_server_removed_says_so_and_joins_again(netbird_server, agent):
    key = netbird_server.setup_key()
    one, two = (agent(name, netbird_server.url, key) for name in ("one", "two"))
    assert one.ping(two.address, timeout=30)
    assert not [each for each in one.status()["events"] if each["severity"] == "WARNING"], "nothing of it is refused"
    _, peers = netbird_server.api("GET", "/api/peers")
    gone = next(peer["id"] for peer in peers if peer["name"] == "two")
    assert netbird_server.api("DELETE", f"/api/peers/{gone}")[0] == 200
    wait_until(lambda: two.status()["daemonStatus"] == "NeedsLogin", 30, "it says so", every=0.2)
    assert "management does not know this machine" in two.run("status", check=False)
    assert "ml0" in two.host.run("ip", "link"), "the mesh stays"
    two.up(netbird_server.url, key)
    assert one.ping(two.address, timeout=30)
    two.run("logout")
    assert "two" not in {peer["name"] for peer in netbird_server.api("GET", "/api/peers")[1]}
    two.run("logout")  # it is not known any longer, and the server's words say so
