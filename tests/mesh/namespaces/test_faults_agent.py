"""What an agent's own machine does to it: full disks, broken files, taken ports, kills at any moment, missing rights.

The tests share one server and two connected agents, whose logs tell everything; each leaves them connected.
"""

import json
import signal
import sys
from pathlib import Path

import pytest

from meshloom.testing.deployment import BIN, AgentProgram, ServerProgram
from meshloom.testing.namespaces import NAT, Internet, wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

PRESHARED = "cHJlc2hhcmVkIGtleSBvZiB0aGlzIHRlc3QgYWxvbmU="
HOLD_PORT = """
import socket, sys, time
held = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
held.bind(("::", int(sys.argv[1])))
print("held", flush=True)
time.sleep(600)
"""


class Mesh:
    """A server and two agents behind NATs, connected."""

    def __init__(self, internet):
        self.internet = internet
        self.server = ServerProgram(internet.host("server"), internet.folder / "server")
        self.server.start("--log-level", "debug")
        self.server.set_up()
        self.key = self.server.setup_key()
        self.one, self.two = self.agent("one"), self.agent("two")
        for each in (self.one, self.two):
            each.start()
            each.up(self.server.url, self.key, "--preshared-key", PRESHARED)
        self.settle()

    def agent(self, name, **how):
        router = self.internet.router(f"router-{name}")
        host = router.host(name)
        router.translate(NAT.PORT_RESTRICTED, host)
        return AgentProgram(host, self.internet.folder / name, arguments=("--log-level", "debug"), **how)

    def settle(self):
        """Until both reach each other."""
        wait_until(lambda: self.two.status()["daemonStatus"] == "Connected", 20, "two is up", every=0.1)
        wait_until(lambda: self.one.ping(self.two.address, timeout=1), 30, "they are connected", every=0.1)


@pytest.fixture(scope="module")
def shared(running_internet):
    return Mesh(running_internet)


@pytest.fixture(scope="module")
def running_internet(may_make_namespaces):
    with Internet() as made:
        yield made


@pytest.fixture
def mesh(shared):
    yield shared
    shared.settle()


def kill(program):
    program.kill()
    program.wait()


def test_a_broken_map_is_moved_aside_and_named(mesh):
    two = mesh.two
    kill(two.program)
    (two.state / "map").write_bytes(b"meshloom map 1\nhalf of it")
    (two.state / "ssh.pub").write_bytes(b"\xff\xfe")
    two.start()
    wait_until(lambda: two.status()["daemonStatus"] == "Connected", 20, "it is up again", every=0.1)
    for name in ("map", "ssh.pub"):
        assert f"{two.state / name} could not be read and was moved aside to {two.state / name}.broken" in log(two)


def log(agent):
    return agent.log.read_text()


def test_broken_settings_are_replaced_by_their_copy_and_the_machine_goes_up(mesh):
    two = mesh.two
    kill(two.program)
    (two.state / "settings.json").write_text('{"management_url": "http')
    two.start()
    wait_until(lambda: two.status()["daemonStatus"] == "Connected", 20, "it is up by itself", every=0.1)
    assert f"{two.state / 'settings.json'} could not be read" in log(two)


def test_a_broken_key_is_left_where_it_is_and_the_machine_comes_back_with_a_copy(mesh):
    two = mesh.two
    kill(two.program)
    good = (two.state / "private.key").read_bytes()
    (two.state / "private.key").write_bytes(b"not a key\n")
    two.start()
    wait_until(lambda: "private.key: holds no key" in log(two), 20, "it says so", every=0.1)
    assert (two.state / "private.key").read_bytes() == b"not a key\n"
    (two.state / "private.key").write_bytes(good)
    wait_until(lambda: two.status()["daemonStatus"] == "Connected", 30, "it is up by itself", every=0.1)


def test_kills_at_any_moment_end_in_a_connection(mesh):
    two = mesh.two
    for moment in (0.0, 0.05, 0.15, 0.3, 0.6, 1.2):
        kill(two.program)
        two.start()
        mesh.two.host.run("sleep", str(moment))
        for pid in two.host.processes():
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"wireguard-go" in command and moment != 0.3:  # once the device is there to be taken over
                two.host.run("kill", "-KILL", str(pid), check=False)
    kill(two.program)
    two.start()
    mesh.settle()
    links = two.host.run("ip", "-o", "link")
    assert links.count("ml0") == 1, links


def test_a_full_disk_keeps_the_mesh_up_and_is_logged(mesh):
    small = mesh.agent("small")
    small.state.mkdir(mode=0o700)
    small.host.run("mount", "-t", "tmpfs", "-o", "size=128k,mode=700", "tmpfs", str(small.state))
    small.start()
    small.up(mesh.server.url, mesh.key, "--preshared-key", PRESHARED)
    small.host.run("dd", "if=/dev/zero", f"of={small.state}/filler", "bs=1k", check=False)
    kept = small.host.run("cat", f"{small.state}/settings.json")
    group = mesh.server.api("POST", "/api/groups", {"name": "g"})[1]["id"]
    assert group
    other = mesh.agent("other")
    other.start()
    other.up(mesh.server.url, mesh.key, "--preshared-key", PRESHARED)
    wait_until(lambda: "the network map is not kept" in log(small), 10, "it is logged", every=0.1)
    assert f"{small.state}/map: cannot be written: No space left on device" in log(small)
    assert small.ping(other.address, timeout=15)
    small.run("down")
    small.run("up")
    assert small.ping(other.address, timeout=15)
    assert small.host.run("cat", f"{small.state}/settings.json") == kept
    kill(small.program)
    small.start()
    wait_until(lambda: small.ping(other.address, timeout=1), 20, "it is back with the map of before", every=0.2)
    small.host.run("rm", f"{small.state}/filler")
    small.run("down")
    assert json.loads(small.host.run("cat", f"{small.state}/settings.json"))["up"] is False
    for each in (small, other):
        each.run("logout")
        each.program.send_signal(signal.SIGTERM)
        assert each.program.wait(timeout=20) == 0


def test_a_taken_port_is_named_and_a_free_one_is_taken(mesh):
    two = mesh.two
    two.run("down")
    holder = two.host.start(sys.executable, "-c", HOLD_PORT, "51820", log=mesh.internet.folder / "holder.log")
    wait_until(lambda: "held" in (mesh.internet.folder / "holder.log").read_text(), 10, "the port is held")
    for _ in range(2):
        said = two.run("up", check=False)
        assert "warning: --wireguard-port 51820: ml0, UDP port 51820: the UDP port is taken: python" in said
        assert ") has it; " in said
        assert two.status()["wireguardPort"] not in (0, 51820)
        two.run("down")
    two.run("up", check=False)
    assert "Warning: --wireguard-port 51820" in two.run("status")
    assert log(two).count("port: --wireguard-port 51820: ml0, UDP port 51820: the UDP port is taken") == 3
    mesh.settle()
    kill(holder)
    two.run("down")
    two.run("up")
    assert two.status()["wireguardPort"] == 51820


def test_an_agent_without_rights_says_which_it_lacks(mesh):
    folder = mesh.internet.folder
    bare = ("setpriv", "--bounding-set", "-net_raw,-net_admin", BIN / "meshloom", "service", "run")
    said = mesh.one.host.run(
        *bare, "--state-dir", folder / "weak", "--daemon-addr", f"unix://{folder}/weak.sock", check=False
    )
    assert "error: tunnel.backend = 'auto': no backend can run here" in said
    assert "wireguard-go: it needs root, or CAP_NET_ADMIN and CAP_NET_RAW" in said
    assert "Traceback" not in said


def test_a_user_who_may_not_use_the_socket_is_told_who_may(mesh):
    one = mesh.one
    assert one.socket.stat().st_mode & 0o777 == 0o600
    one.host.run("chown", "12345", str(one.socket))
    bare = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    said = one.host.run(*bare, BIN / "meshloom", "status", "--daemon-addr", f"unix://{one.socket}", check=False)
    one.host.run("chown", "0", str(one.socket))
    assert "permission denied: use sudo, or join the group in `socket_group`" in said


@pytest.mark.parametrize("why", ["used up", "revoked", "deleted", "unknown"])
def test_a_key_that_is_no_longer_good_is_refused_in_words(mesh, why):
    key = mesh.server.setup_key(type="one-off", usage_limit=1, name=why)
    found = next(each for each in mesh.server.api("GET", "/api/setup-keys")[1] if each["name"] == why)
    path = f"/api/setup-keys/{found['id']}"
    late = AgentProgram(mesh.one.host, mesh.internet.folder / f"late-{why[:4].strip()}")
    match why:
        case "used up":
            first = AgentProgram(mesh.one.host, mesh.internet.folder / "first")
            first.start()
            first.run("login", "--management-url", mesh.server.url, "--setup-key", key)
            first.run("logout")
            kill(first.program)
        case "revoked":
            assert mesh.server.api("PUT", path, {"revoked": True, "auto_groups": []})[0] == 200
        case "deleted":
            assert mesh.server.api("DELETE", path)[0] == 200
        case "unknown":
            key = "11111111-1111-4111-8111-111111111111"
    late.start()
    with pytest.raises(AssertionError, match="exit 4") as caught:
        late.run("login", "--management-url", mesh.server.url, "--setup-key", key)
    kill(late.program)
    assert ": unknown, expired, revoked or used up" in str(caught.value)
    assert key not in log(late)


def test_nothing_of_all_this_has_put_a_secret_in_a_log(mesh):
    """Last in the file: it reads what all the others have left."""
    secrets = {"setup key": mesh.key, "preshared key": PRESHARED, "token": mesh.server.token}
    for file in mesh.internet.folder.glob("*/private.key"):
        secrets[f"private key {file.parent.name}"] = file.read_text().strip()
    secrets["server's key"] = (mesh.server.data / "server.key").read_text().strip()
    logs = list(mesh.internet.folder.glob("*.log"))
    assert len(logs) >= 4
    assert len(secrets) >= 6
    for file in logs:
        text = file.read_text()
        for what, secret in secrets.items():
            assert secret not in text, (file, what)
            assert secret.lower() not in text, (file, what)
        assert "Traceback" not in text, file
    for agent in (mesh.one, mesh.two):
        assert agent.state.stat().st_mode & 0o777 == 0o700
        for file in agent.state.iterdir():
            assert file.stat().st_mode & 0o777 == 0o600, file
            if file.name not in ("private.key", "preshared.key"):
                assert not [what for what, secret in secrets.items() if secret.encode() in file.read_bytes()], file
