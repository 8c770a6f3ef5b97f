"""A TURN server as the only way between two machines: there is no relay of the mesh, and no direct path."""

import re

import pytest

from meshloom.testing.certificates import make_certificate
from meshloom.testing.deployment import AgentProgram, is_relayed
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]


def is_turned(peer):
    """Whether a candidate of either side is a relayed one."""
    kinds = peer["iceCandidateType"]
    return is_relayed(peer) and "relay" in (kinds["local"], kinds["remote"])


def throughput(one, two):
    """Bits a second of one TCP stream, and that it got through."""
    one.host.start("iperf3", "--server", "--one-off", "--bind", one.address)
    wait_until(lambda: "5201" in one.host.run("ss", "-Hltn"), 5, "iperf3 listens")
    out = two.host.run("iperf3", "--client", one.address, "--time", "3")
    return re.search(r"([\d.]+ \S+)bits/sec\s+receiver", out)[1]


@pytest.mark.parametrize(("transport", "static"), [("udp", False), ("tcp", True)])
def test_two_symmetric_nats_meet_on_a_turn_server(told_of, coturn, agent, transport, static):
    coturn.start(static=static)
    server = told_of(coturn.url(transport), static=static)
    key = server.setup_key()
    one, two = (agent(name, server.url, key, NAT.SYMMETRIC) for name in ("one", "two"))
    assert one.ping(two.address, timeout=15)
    assert two.ping(one.address, timeout=5)
    one.wait_for("two", is_turned, 10, "is relayed by TURN")
    two.wait_for("one", is_turned, 10, "is relayed by TURN")
    print(f"TURN over {transport}: {throughput(one, two)}bit/s")
    assert "user <mesh>" in coturn.says if static else re.search(r"user <\d{10}:", coturn.says)


def test_a_machine_without_udp_meets_one_behind_a_symmetric_nat(told_of, coturn, agent):
    coturn.start()
    server = told_of(coturn.url("udp"), coturn.url("tcp"))
    key = server.setup_key()
    one, two = agent("one", server.url, key, NAT.SYMMETRIC), agent("two", server.url, key, NAT.UDP_BLOCKED)
    assert one.ping(two.address, timeout=20)
    two.wait_for("one", is_turned, 10, "is relayed by TURN")
    assert two.peer("one")["iceCandidateType"]["local"] == "relay"
    print(f"TURN over TCP on one side: {throughput(one, two)}bit/s")


def test_two_machines_without_udp_meet_over_tls_with_a_root_of_the_owners(internet, told_of, coturn, behind):
    certificate = make_certificate(internet.folder, str(coturn.host.address))
    coturn.start("--cert", internet.folder / "certificate.pem", "--pkey", internet.folder / "key.pem")
    server = told_of(f"turns:{coturn.host.address}:5349?transport=tcp")
    roots, config = internet.folder / "roots.pem", internet.folder / "agent.toml"
    roots.write_bytes(certificate.chain)
    config.write_text(f'extra_roots = "{roots}"\n')
    key = server.setup_key()
    agents = []
    for name in ("one", "two"):
        made = AgentProgram(behind(name, NAT.UDP_BLOCKED), internet.folder / name, arguments=("--config", str(config)))
        made.start()
        made.up(server.url, key)
        agents.append(made)
    one, two = agents
    assert one.ping(two.address, timeout=20)
    one.wait_for("two", is_turned, 10, "is relayed by TURN")
    print(f"TURN over TLS: {throughput(one, two)}bit/s")


def test_a_turn_server_that_is_killed_and_started_again_is_used_again(told_of, coturn, agent):
    coturn.start()
    server = told_of(coturn.url("udp"))
    key = server.setup_key()
    one, two = (agent(name, server.url, key, NAT.SYMMETRIC) for name in ("one", "two"))
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_turned, 10, "is relayed by TURN")
    coturn.kill()
    one.wait_for("two", lambda peer: not is_relayed(peer), 30, "has no path")
    uri = coturn.url("udp")
    wait_until(lambda: any(each["uri"] == uri and not each["available"] for each in relays(one)), 30, "is said so")
    coturn.start()
    one.wait_for("two", is_turned, 60, "is relayed by TURN again")
    assert one.ping(two.address, timeout=15)


def relays(agent):
    return agent.status()["relays"]["details"]
