"""Programs are killed, networks change, management goes away: the mesh comes back, or stays."""

import signal
from pathlib import Path

import pytest

from meshloom.testing.deployment import BIN, AgentProgram, is_direct
from meshloom.testing.namespaces import NAT, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]


@pytest.fixture
def pair(server, agent):
    """Two agents behind two NATs, connected."""
    key = server.setup_key()
    one, two = agent("one", server.url, key), agent("two", server.url, key)
    assert one.ping(two.address, timeout=15)
    one.wait_for("two", is_direct, 10, "is direct")
    return one, two


def kill(program):
    program.kill()
    program.wait()


def test_a_killed_server_comes_back_with_all_it_knew(server, pair):
    one, two = pair
    before = server.api("GET", "/api/peers")[1]
    kill(server.program)
    assert one.ping(two.address), "connections outlive the server"
    server.start()
    after = server.api("GET", "/api/peers")[1]
    assert {peer["ip"] for peer in after} == {peer["ip"] for peer in before}
    for made in pair:
        wait_until(lambda made=made: made.status()["management"]["connected"], 30, "management is back", every=0.2)
        wait_until(lambda made=made: made.status()["signal"]["connected"], 30, "signal is back", every=0.2)
    assert one.ping(two.address)


def test_a_killed_agent_comes_back_by_itself(pair):
    one, two = pair
    address = two.address
    kill(two.program)
    two.start()
    wait_until(lambda: two.status()["daemonStatus"] == "Connected", 20, "it is up again", every=0.2)
    assert two.address == address
    assert one.ping(address, timeout=20)


def test_a_killed_tunnel_program_is_started_again(pair):
    one, two = pair
    programs = [pid for pid in two.host.processes() if "wireguard-go" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert programs
    two.host.run("kill", "-KILL", *map(str, programs))
    wait_until(lambda: one.ping(two.address, timeout=2), 40, "it is reached again", every=0.5)


def test_an_agent_that_starts_without_management_brings_the_last_map_back(server, pair):
    one, two = pair
    address = two.address
    kill(server.program)
    kill(one.program)
    one.start()
    wait_until(lambda: one.peer("two"), 20, "it knows its peer", every=0.2)
    server.start()
    assert one.ping(address, timeout=40)


def test_a_changed_address_is_noticed(pair):
    one, two = pair
    host = two.host
    host.ip("address flush dev eth0 scope global")
    moved = host.address + 100
    host.ip(f"address add {moved}/24 dev eth0")
    host.ip(f"route add default via {host.address.packed[0]}.{host.address.packed[1]}.{host.address.packed[2]}.1")
    wait_until(lambda: one.ping(two.address, timeout=2), 30, "it is reached at its new address", every=0.3)


def test_a_stopped_agent_leaves_nothing_behind(pair):
    _, two = pair
    two.run("down")
    assert "ml0" not in two.host.run("ip", "link")
    two.program.send_signal(signal.SIGTERM)
    assert two.program.wait(timeout=20) == 0
    assert not two.socket.exists()
    assert two.host.run("ls", "/var/run/wireguard") == ""


def test_a_deleted_peer_is_gone_within_a_second(server, pair):
    one, two = pair
    _, peers = server.api("GET", "/api/peers")
    gone = next(peer["id"] for peer in peers if peer["name"] == "two")
    assert server.api("DELETE", f"/api/peers/{gone}")[0] == 200
    one.wait_for("two", lambda peer: not peer, 1.5, "is gone")
    wait_until(lambda: two.status()["daemonStatus"] == "NeedsLogin", 20, "the deleted one needs a login", every=0.2)


def test_a_second_agent_on_the_same_interface_is_refused(internet, server, pair):
    one, _ = pair
    other = AgentProgram(one.host, internet.folder / "other")
    other.start()
    said = other.host.run(
        *(BIN / "meshloom", "up", "--daemon-addr", f"unix://{other.socket}"),
        *("--management-url", server.url, "--setup-key", server.setup_key(), "--hostname", "other"),
        check=False,
    )
    assert "ml0" in said
    assert one.status()["daemonStatus"] == "Connected"


def test_a_bad_key_is_refused_in_words(internet, server, behind):
    made = AgentProgram(behind("lost", NAT.PORT_RESTRICTED), internet.folder / "lost")
    made.start()
    with pytest.raises(AssertionError, match="exit 4"):
        made.up(server.url, "11111111-1111-4111-8111-111111111111")
    assert "11111111-1111" not in made.log.read_text()
