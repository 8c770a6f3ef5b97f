"""An agent on the kernel's device and one on a program, in one mesh: where this kernel has WireGuard."""

import os

import pytest

from meshloom.testing.deployment import AgentProgram, ServerProgram, is_direct
from meshloom.testing.namespaces import Internet, missing_programs
from meshloom_tunnel_kernel import meshloom_tunnels

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]

PROGRAMS = ("ip", "nsenter", "unshare", "setpriv", "wg", "wireguard-go", "ping")
WITHIN = 120
"""Seconds until the first ping is answered, on an emulated processor."""


@pytest.fixture
def internet():
    (kernel,) = meshloom_tunnels()
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if objection := kernel.probe() or ", ".join(missing_programs(PROGRAMS)):
        pytest.skip(objection)
    with Internet() as made:
        yield made


@pytest.fixture
def agent(internet):
    """Makes an agent with that tunnel backend that has joined the server."""

    def make(name, url, key, backend):
        config = internet.folder / f"{name}.toml"
        config.write_text(f'[tunnel]\nbackend = "{backend}"\n')
        made = AgentProgram(internet.host(name), internet.folder / name, arguments=("--config", str(config)))
        made.start()
        made.up(url, key)
        return made

    return make


@pytest.mark.timeout(900)
def test_an_agent_on_the_kernel_and_one_on_wireguard_go_ping_each_other(internet, agent):
    server = ServerProgram(internet.host("server"), internet.folder / "server")
    server.start()
    server.set_up()
    key = server.setup_key()
    ours, other = agent("ours", server.url, key, "auto"), agent("other", server.url, key, "wireguard-go")
    assert "wireguard" in ours.host.run("ip", "-d", "link", "show", "ml0"), "auto prefers the kernel's device"
    assert " tun " in other.host.run("ip", "-d", "link", "show", "ml0")
    # Pings first: each look at the status is a program to start, which takes an emulated processor seconds.
    status, peers = server.api("GET", "/api/peers")
    assert status == 200, peers
    addresses = {peer["hostname"]: peer["ip"] for peer in peers}
    assert ours.ping(addresses["other"], timeout=WITHIN), ours.log.read_text()
    assert other.ping(addresses["ours"], timeout=WITHIN), other.log.read_text()
    assert is_direct(ours.peer("other"))
    assert "latest handshake" in ours.host.run("wg", "show", "ml0")
