"""A router that opens ports on request, miniupnpd: two symmetric NATs are no obstacle any more."""

import pytest

from meshloom.testing.deployment import is_direct, is_relayed
from meshloom.testing.namespaces import NAT, missing_programs, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

OUTER = "192.0.43.7"
"""The router's; miniupnpd takes none of the documentation's ranges for a public one."""
CONFIG = """
ext_ifname=wan
ext_ip={outer}
listening_ip=lan
port=5000
uuid=00000000-0000-4000-8000-000000000001
secure_mode=yes
enable_natpmp={natpmp}
enable_upnp={upnp}
upnp_table_name=filter
upnp_nat_table_name=opened
allow 1024-65535 192.168.0.0/16 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
TABLES = """
table inet filter {
  chain miniupnpd {
  }
}
insert rule inet filter forward jump miniupnpd
table inet opened {
  chain prerouting_miniupnpd {
  }
  chain postrouting_miniupnpd {
  }
  chain prerouting {
    type nat hook prerouting priority -101
    jump prerouting_miniupnpd
  }
  chain postrouting {
    type nat hook postrouting priority 99
    jump postrouting_miniupnpd
  }
}
"""


@pytest.mark.parametrize("protocol", ["PCP", "UPnP"])
def test_a_port_that_the_router_opens_makes_the_path_a_direct_one(internet, server, agent, protocol):
    if missing_programs(("miniupnpd",)):
        pytest.skip("needs miniupnpd: run make setup-tests")
    key = server.setup_key()
    one = agent("one", server.url, key, NAT.SYMMETRIC, flags=("--no-port-mapping",))
    two = agent("two", server.url, key, NAT.SYMMETRIC)
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_relayed, 10, "is relayed")

    router, other = internet.named("router-one"), internet.named("router-two")
    router.ip(f"address add {OUTER}/32 dev wan")
    other.ip(f"route add {OUTER}/32 dev wan")
    router.nft(TABLES)
    config, log = internet.folder / "miniupnpd.conf", internet.folder / "miniupnpd.log"
    answers = ("yes", "no") if protocol == "PCP" else ("no", "yes")
    config.write_text(CONFIG.format(outer=OUTER, natpmp=answers[0], upnp=answers[1]))
    router.start("miniupnpd", "-d", "-f", config, "-P", internet.folder / "miniupnpd.pid", log=log)
    port = 5351 if protocol == "PCP" else 5000
    wait_until(lambda: f":{port}" in router.run("ss", "-Hlntu"), 10, f"miniupnpd listens; see {log}")

    def opened():
        return router.run("nft", "list", "chain", "inet", "opened", "prerouting_miniupnpd")

    one.run("up", "--port-mapping")
    wait_until(lambda: f"by {protocol} for" in one.log.read_text(), 30, f"the router opens a port; see {one.log}")
    assert "51820" in opened()
    assert one.ping(two.address, timeout=15), "it came back asleep"
    one.wait_for("two", is_direct, 30, "is direct")
    two.wait_for("one", is_direct, 10, "is direct")
    assert two.peer("one")["iceCandidateEndpoint"]["remote"].startswith(f"{OUTER}:")
    assert two.ping(one.address)
    one.run("down")
    wait_until(lambda: "51820" not in opened(), 10, "the port is given back")
