"""Where IPv6 is off on a host, its agent joins by IPv4, and says what it leaves out."""

import pytest

from meshloom.testing.deployment import AgentProgram
from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]


def test_an_agent_on_a_host_without_ipv6_joins_and_says_what_it_leaves_out(server, agent, internet):
    key = server.setup_key()
    two = agent("two", server.url, key)
    host = internet.host("one")
    host.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    one = AgentProgram(host, internet.folder / "one")
    one.start()
    one.up(server.url, key)
    wait_until(lambda: one.ping(two.address, timeout=1), 30, "they are connected", every=0.1)
    words = "no IPv6 inside the mesh: IPv6 is off on this host"
    assert f"Warning: {words}" in one.run("status")
    assert f"[note] ipv6: {words}" in one.run("doctor", "--no-ask-gateway", check=False)
    assert "Permission denied" not in one.log.read_text()
    host.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=0")
    host.run("ip", "link", "set", "lo", "down")  # a change that the kernel announces
    wait_until(lambda: "netbirdIpv6" in one.status(), 20, "it has its address", every=0.1)
    host.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    wait_until(lambda: "netbirdIpv6" not in one.status(), 20, "it is left out again", every=0.1)
    wait_until(lambda: one.status()["daemonStatus"] == "Connected", 20, "it is connected", every=0.1)
