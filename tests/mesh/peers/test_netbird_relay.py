"""Relays are NetBird's own, both ways: unmodified clients through our relay, our agents through an unmodified one."""

import pytest

from meshloom.testing.deployment import AgentProgram, is_relayed
from meshloom.testing.namespaces import NAT

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer]


def test_two_unmodified_clients_reach_each_other_through_our_relay(server, client):
    key = server.setup_key()
    one, two = (client(name, server.url, key, NAT.UDP_BLOCKED) for name in ("one", "two"))
    assert two.ping(one.address, timeout=40)
    one.wait_for("two", is_relayed, 40, "is relayed")
    assert one.peer("two")["relayAddress"] == f"rel://{server.host.address}:80"
    assert one.ping(two.address)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_our_agent_and_a_client_reach_each_other_through_our_relay(server, client, agent, first):
    key = server.setup_key()
    make = {
        "ours": lambda: agent("ours", server.url, key, NAT.UDP_BLOCKED),
        "theirs": lambda: client("theirs", server.url, key, NAT.UDP_BLOCKED),
    }
    order = ("ours", "theirs") if first == "ours" else ("theirs", "ours")
    joined = {name: make[name]() for name in order}
    ours, theirs = joined["ours"], joined["theirs"]
    assert ours.ping(theirs.address, timeout=40)
    assert theirs.ping(ours.address, timeout=20)
    ours.wait_for("theirs", is_relayed, 40, "is relayed")
    theirs.wait_for("ours", is_relayed, 40, "is relayed")


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_a_client_that_sleeps_and_our_agent_wake_each_other(server, client, agent, first):
    key = server.setup_key()
    theirs = client("theirs", server.url, key)
    ours = agent("ours", server.url, key)
    ours.wait_for("theirs", lambda peer: peer.get("status") == "Idle", 20, "sleeps")
    one, other = (ours, theirs) if first == "ours" else (theirs, ours)
    assert one.ping(other.address, timeout=20)
    assert other.ping(one.address, timeout=20)


@pytest.mark.parametrize("nats", [(NAT.UDP_BLOCKED, NAT.UDP_BLOCKED), (NAT.UDP_BLOCKED, NAT.PORT_RESTRICTED)])
def test_two_of_our_agents_reach_each_other_through_an_unmodified_relay(netbird_server, agent, nats):
    key = netbird_server.setup_key()
    one, two = (agent(name, netbird_server.url, key, nat) for name, nat in zip(("one", "two"), nats, strict=True))
    assert one.ping(two.address, timeout=30)
    one.wait_for("two", is_relayed, 30, "is relayed")
    assert one.peer("two")["relayAddress"] == f"rel://{netbird_server.host.address}:80"


def test_our_agent_and_a_client_reach_each_other_through_an_unmodified_relay(netbird_server, client, agent):
    key = netbird_server.setup_key()
    theirs = client("theirs", netbird_server.url, key, NAT.UDP_BLOCKED)
    ours = agent("ours", netbird_server.url, key, NAT.UDP_BLOCKED)
    assert ours.ping(theirs.address, timeout=40)
    assert theirs.ping(ours.address, timeout=20)
    ours.wait_for("theirs", is_relayed, 30, "is relayed")
    assert isinstance(ours, AgentProgram)
