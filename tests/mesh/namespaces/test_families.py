"""Networks of IPv6 alone, of both families, of IPv4 alone, and NATs behind NATs."""

import pytest

from meshloom.testing.deployment import AgentProgram, ServerProgram, is_direct, is_relayed
from meshloom.testing.namespaces import NAT

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

NAME = "server.mesh.test"
PREFIX = "2001:db8::"


class Families:
    """A server that is known by name, with an address of each family, and machines of the families asked for."""

    def __init__(self, internet):
        self.internet = internet
        self.names = internet.folder / "hosts"
        host = internet.host("server")
        host.ip(f"address add {PREFIX}10/64 dev eth0 nodad")
        self.names.write_text(f"127.0.0.1 localhost\n{host.address} {NAME}\n{PREFIX}10 {NAME}\n")
        self.server = ServerProgram(host, internet.folder / "server")
        self.url = f"http://{NAME}"
        self.server.start("--listen", ":80", "--public-url", self.url)
        self.server.set_up()
        self.key = self.server.setup_key()

    def agent(self, host):
        host.run("mount", "--bind", self.names, "/etc/hosts")
        made = AgentProgram(host, self.internet.folder / host.name)
        made.start()
        made.up(self.url, self.key)
        return made

    def both(self, name, number):
        host = self.internet.host(name)
        host.ip(f"address add {PREFIX}{number}/64 dev eth0 nodad")
        return self.agent(host)

    def ipv6(self, name, number):
        host = self.internet.host(name)
        host.ip("-4 address flush dev eth0")
        host.ip(f"address add {PREFIX}{number}/64 dev eth0 nodad")
        return self.agent(host)


def stays_relayed(peer):
    """That no direct path was found is said only after all were tried."""
    return is_relayed(peer) and "no direct path" in peer.get("reason", "")


@pytest.fixture
def families(internet):
    return Families(internet)


def test_ipv6_alone_and_both_families_are_direct_over_ipv6(families):
    one, two = families.ipv6("one", 21), families.both("two", 22)
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 10, "is direct")
    two.wait_for("one", is_direct, 10, "is direct")
    assert one.peer("two")["iceCandidateEndpoint"]["remote"].startswith(f"[{PREFIX}")


def test_ipv6_alone_and_ipv4_alone_meet_at_the_relay(families):
    one, two = families.ipv6("one", 21), families.agent(families.internet.host("two"))
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", stays_relayed, 30, "stays relayed")
    two.wait_for("one", is_relayed, 10, "is relayed")


@pytest.mark.parametrize(
    ("inner", "expected"), [(NAT.PORT_RESTRICTED, is_direct), (NAT.SYMMETRIC, stays_relayed)], ids=["cone", "symmetric"]
)
def test_a_nat_behind_a_nat(internet, server, agent, inner, expected):
    key = server.setup_key()
    outer = internet.router("outer")
    outer.translate(NAT.PORT_RESTRICTED)
    router = internet.router("inner", behind=outer)
    host = router.host("one")
    router.translate(inner)
    one = AgentProgram(host, internet.folder / "one")
    one.start()
    one.up(server.url, key)
    two = agent("two", server.url, key, NAT.PORT_RESTRICTED)
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", expected, 30, "has the path that the NATs allow")
    two.wait_for("one", expected, 30, "has the path that the NATs allow")
