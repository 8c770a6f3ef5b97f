"""What `meshloom netcheck` says of a machine behind each kind of router, with a server that has two addresses."""

import json

import pytest

from meshloom.testing.deployment import BIN, ServerProgram
from meshloom.testing.namespaces import NAT

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

SECOND = "203.0.113.250"
INDEPENDENT, STRICT, LOOSE = "endpoint-independent", "address-and-port-dependent", "endpoint-independent"
SEEN = {
    None: ("none", LOOSE),
    NAT.FULL_CONE: (INDEPENDENT, LOOSE),
    NAT.PORT_RESTRICTED: (INDEPENDENT, STRICT),
    NAT.SYMMETRIC: ("address-and-port-dependent", STRICT),
    NAT.HAIRPIN: (INDEPENDENT, LOOSE),
}


@pytest.fixture
def two_addresses(internet):
    host = internet.host("server")
    host.ip(f"address add {SECOND}/24 dev eth0")
    program = ServerProgram(host, internet.folder / "server")
    program.start("--stun-alternate-address", SECOND)
    return program


def netcheck(host, url):
    return json.loads(host.run(BIN / "meshloom", "netcheck", "--json", "-m", url))


def test_every_kind_of_router_is_recognised(internet, two_addresses, behind):
    for number, (nat, expected) in enumerate(SEEN.items()):
        found = netcheck(behind(f"host{number}", nat), two_addresses.url)
        assert found["udp"], nat
        assert (found["mapping"], found["filtering"]) == expected, (nat, found)
        assert found["port_mapping"] == []
        assert {each["kind"]: each["error"] for each in found["servers"]} == {"management": "", "stun": ""}
        assert abs(found["clockSkew"]) < 5


def test_blocked_udp_is_told_from_a_server_that_is_away(internet, two_addresses, behind):
    host = behind("blocked", NAT.UDP_BLOCKED)
    found = netcheck(host, two_addresses.url)
    assert (found["udp"], found["public"], found["mapping"]) == (False, {}, "unknown")
    assert {each["kind"]: each["error"] for each in found["servers"]} == {"management": "", "stun": "no answer"}
    assert "UDP does not come through" in host.run(BIN / "meshloom", "netcheck", "-m", two_addresses.url)


def test_a_server_with_one_address_tells_less_and_nothing_wrong(internet, server, behind):
    found = netcheck(behind("strict", NAT.PORT_RESTRICTED), server.url)
    assert (found["mapping"], found["filtering"]) == ("endpoint-independent or address-dependent", STRICT)
    found = netcheck(behind("symmetric", NAT.SYMMETRIC), server.url)
    assert (found["mapping"], found["filtering"]) == ("address-and-port-dependent", STRICT)
