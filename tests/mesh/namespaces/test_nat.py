"""Agents connect directly wherever RFC 4787 says that they can, through routers of the kernel's own."""

import pytest

from meshloom.testing.deployment import AgentProgram, ServerProgram, is_direct, is_relayed
from meshloom.testing.namespaces import NAT

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

OPEN = None
DIRECT = [
    (OPEN, OPEN),
    (OPEN, NAT.PORT_RESTRICTED),
    (OPEN, NAT.SYMMETRIC),
    (NAT.FULL_CONE, NAT.PORT_RESTRICTED),
    (NAT.PORT_RESTRICTED, NAT.PORT_RESTRICTED),
    (NAT.FULL_CONE, NAT.SYMMETRIC),
]
WITHOUT_A_PATH = [
    (NAT.SYMMETRIC, NAT.SYMMETRIC),
    (NAT.PORT_RESTRICTED, NAT.SYMMETRIC),
    (NAT.UDP_BLOCKED, OPEN),
]


@pytest.mark.parametrize(("left", "right"), DIRECT)
def test_a_pair_that_can_connects_directly(server, agent, left, right):
    key = server.setup_key()
    one, two = agent("one", server.url, key, left), agent("two", server.url, key, right)
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 10, "is direct")
    two.wait_for("one", is_direct, 10, "is direct")


@pytest.mark.parametrize(("left", "right"), WITHOUT_A_PATH)
def test_a_pair_without_a_direct_path_goes_through_the_relay(server, agent, left, right):
    key = server.setup_key()
    one, two = agent("one", server.url, key, left), agent("two", server.url, key, right)
    assert one.ping(two.address, timeout=10)
    one.wait_for("two", is_relayed, 10, "is relayed")
    two.wait_for("one", is_relayed, 10, "is relayed")
    assert one.peer("two")["relayAddress"] == f"rel://{server.host.address}:80"
    one.wait_for("two", lambda peer: "no direct path" in peer.get("reason", ""), 30, "is said to have no direct path")


def test_a_pair_that_needs_a_relay_where_there_is_none_is_told_so(internet, agent):
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start("--relay-enabled", "false")
    server.set_up()
    key = server.setup_key()
    one = agent("one", server.url, key, NAT.SYMMETRIC)
    two = agent("two", server.url, key, NAT.SYMMETRIC)
    assert not one.ping(two.address, timeout=2)
    one.wait_for("two", lambda peer: "a relay is needed" in peer.get("reason", ""), 30, "is said to need a relay")


def test_machines_of_one_network_use_it(internet, server):
    key = server.setup_key()
    router = internet.router("router")
    router.translate(NAT.PORT_RESTRICTED)
    agents = []
    for name in ("one", "two"):
        made = AgentProgram(router.host(name), internet.folder / name)
        made.start()
        made.up(server.url, key)
        agents.append(made)
    one, two = agents
    assert one.ping(two.address, timeout=15)
    one.wait_for(
        "two", lambda peer: is_direct(peer) and peer["iceCandidateType"]["local"] == "host", 10, "is on the LAN"
    )


def test_machines_of_two_networks_behind_one_hairpinning_router(internet, server):
    key = server.setup_key()
    outer = internet.router("outer")
    outer.translate(NAT.PORT_RESTRICTED)
    agents = []
    for name in ("one", "two"):
        made = AgentProgram(outer.host(name), internet.folder / name)
        made.start()
        made.up(server.url, key)
        agents.append(made)
    assert agents[0].ping(agents[1].address, timeout=15)
