"""TURN as the only way between an unmodified NetBird client and our agent."""

import pytest

from meshloom.testing.deployment import is_relayed
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow, pytest.mark.peer]


@pytest.mark.parametrize("nat", [NAT.SYMMETRIC, NAT.UDP_BLOCKED])
def test_our_agent_and_a_client_meet_on_a_turn_server_that_our_server_tells_of(told_of, coturn, client, agent, nat):
    coturn.start()
    server = told_of(coturn.url("udp"), coturn.url("tcp"))
    key = server.setup_key()
    theirs = client("theirs", server.url, key, nat)
    ours = agent("ours", server.url, key, NAT.SYMMETRIC)
    assert ours.ping(theirs.address, timeout=60)
    assert theirs.ping(ours.address, timeout=10)
    ours.wait_for("theirs", is_relayed, 20, "is relayed")
    theirs.wait_for("ours", is_relayed, 20, "is relayed")
    kinds = ours.peer("theirs")["iceCandidateType"]
    assert "relay" in (kinds["local"], kinds["remote"])
    print(f"ours is {kinds['local']}, theirs {kinds['remote']}")

    def has_turn():
        """The client asks its servers beside, which takes longer than the connection where UDP is blocked."""
        known = theirs.status()["relays"]["details"]
        return any(relay["available"] and relay["uri"].startswith("turn:") for relay in known)

    wait_until(has_turn, 30, "the client says that it has a TURN server", every=0.5)


def test_two_unmodified_clients_meet_on_a_turn_server_that_our_server_tells_of(told_of, coturn, client):
    coturn.start()
    server = told_of(coturn.url("udp"))
    key = server.setup_key()
    one, two = (client(name, server.url, key, NAT.SYMMETRIC) for name in ("one", "two"))
    assert one.ping(two.address, timeout=60)
    one.wait_for("two", is_relayed, 20, "is relayed")
