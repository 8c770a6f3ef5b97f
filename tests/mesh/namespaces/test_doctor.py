"""What `meshloom doctor` finds on machines whose network really is broken in that way."""

import json

import pytest

from meshloom.testing.deployment import BIN
from meshloom.testing.namespaces import NAT

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]


def found(host, url):
    rows = json.loads(host.run(BIN / "meshloom", "doctor", "--json", "-m", url, check=False))
    return {each["name"]: each for each in rows}


def test_it_finds_what_is_broken_and_nothing_else(internet, server):
    router = internet.router("router")
    host = router.host("host")
    router.translate(NAT.PORT_RESTRICTED)
    well = found(host, server.url)
    for name in ("clock", "servers", "udp", "firewall", "mtu", "overlap", "other vpn"):
        assert well[name]["level"] == "ok", well[name]

    router.nft("table inet hole {\nchain f {\ntype filter hook forward priority 10;\nmeta length > 1300 drop\n}\n}")
    host.nft('table inet mine {\nchain in {\ntype filter hook input priority 0;\niifname "ml0" drop\n}\n}')
    host.ip("link add cgn0 type bridge")
    host.ip("link set cgn0 up")
    host.ip("address add 100.100.1.2/16 dev cgn0")
    broken = found(host, server.url)
    assert broken["mtu"]["level"] == "warning"
    assert broken["mtu"]["fix"] == "meshloom up --mtu 1220"
    assert broken["firewall"]["level"] == "warning"
    assert "drops all of ml0" in broken["firewall"]["text"]
    assert "cgn0 has 100.100.1.2/16" in broken["overlap"]["text"]
    assert broken["udp"]["level"] == broken["servers"]["level"] == "ok"
