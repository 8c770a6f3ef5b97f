"""A peer is stopped, loses its power, or goes elsewhere and comes back: what the other shows, and how soon."""

import signal
import time

import pytest

from meshloom.testing.deployment import AgentProgram, is_direct, is_relayed
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

SOON = 5
"""Seconds: three, and what programs of these tests take on a busy machine."""
LEFT = "it has left its relay"


def is_offline(peer):
    return peer["status"] != "Connected" and peer.get("reason", "").startswith("offline; last seen ")


@pytest.fixture
def lan(internet, server):
    """Two connected agents in one network, and its router."""
    router = internet.router("router-home")
    router.translate(NAT.PORT_RESTRICTED)
    key, made = server.setup_key(), []
    for name in ("stays", "laptop"):
        program = AgentProgram(router.host(name), internet.folder / name)
        program.start()
        program.up(server.url, key)
        made.append(program)
    assert made[0].ping(made[1].address, timeout=15)
    made[0].wait_for("laptop", is_direct, 20, "is direct")
    made[1].wait_for("stays", is_direct, 20, "is direct")
    return router, *made


@pytest.mark.parametrize("how", ["down", "stop"])
def test_a_peer_that_is_stopped_is_offline_at_once_and_its_relay_is_no_reason(lan, how):
    _, stays, laptop = lan
    address, began = laptop.address, time.monotonic()
    if how == "down":
        laptop.run("down")
    else:
        laptop.program.send_signal(signal.SIGTERM)
    stays.wait_for("laptop", is_offline, 5, "is offline")
    print(f"offline after {time.monotonic() - began:.2f} s, with the end of the daemon")
    reasons = set()

    def for_a_while():
        peer = stays.peer("laptop")
        reasons.add(peer.get("reason"))
        return peer["reason"].startswith("offline; last seen 15 s ago")

    wait_until(for_a_while, 30, "it is offline for 15 s", every=0.2)
    assert not [reason for reason in reasons if not reason.startswith("offline; last seen ")], reasons
    if how == "down":
        laptop.run("up")
    else:
        assert laptop.program.wait(timeout=20) == 0
        laptop.start()
    wait_until(lambda: stays.ping(address, timeout=1), 20, "it is reached again", every=0.1)
    stays.wait_for("laptop", is_direct, 10, "is direct again")
    assert "lastSeen" not in stays.peer("laptop")


def test_a_peer_whose_power_is_cut_is_offline_as_soon_as_its_path_is_seen_to_fail(lan):
    _, stays, laptop = lan
    laptop.host.ip("link set eth0 down")
    began = time.monotonic()
    stays.wait_for("laptop", lambda peer: peer["status"] != "Connected", 90, "is not connected")
    stays.wait_for("laptop", is_offline, 10, "is offline")
    print(f"offline after {time.monotonic() - began:.2f} s")
    assert LEFT not in stays.peer("laptop")["reason"]


def go(host, router, device, other, number):
    """Leaves one network for the other, as a machine that gets its addresses there; nobody else is told."""
    host.ip(f"link set {other} down")
    host.ip(f"address flush dev {other}")
    host.ip(f"address add {router.network[number]}/24 dev {device}")
    host.ip(f"link set {device} up")
    host.ip(f"route add default via {router.network[1]}")


def test_a_machine_that_comes_back_to_its_network_is_direct_at_once(internet, lan):
    home, stays, laptop = lan
    away = internet.router("router-away")
    away.translate(NAT.UDP_BLOCKED)
    port = internet.unused_link()
    laptop.host.plug("eth1", away, port)
    away.ip(f"link set {port} master lan")
    laptop.host.ip("link set eth1 down")
    number = int(laptop.host.address) - int(home.network.network_address)
    for _ in range(3):
        go(laptop.host, away, "eth1", "eth0", 77)
        stays.wait_for("laptop", is_relayed, 60, "is relayed")
        laptop.wait_for("stays", is_relayed, 60, "is relayed")
        go(laptop.host, home, "eth0", "eth1", number)
        began = time.monotonic()
        for one, other in ((stays, "laptop"), (laptop, "stays")):
            one.wait_for(other, is_direct, SOON, "is direct")
        print(f"direct after {time.monotonic() - began:.2f} s")
    assert laptop.ping(stays.address)
