"""The command line as a process, against a daemon on a socket of its own."""

import json
import os
import stat
import sys

import anyio
import pytest
import yaml

from meshloom.errors import ConfigError
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.renaming import renaming

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"


async def test_up_joins_and_connects(joined, daemon, management, meshloom):
    assert daemon.report.state == "Connected"
    assert management.logins[-1].meta.hostname == "box"
    assert (await meshloom("up")).out == "Already connected as peer1.mesh.test, 100.64.0.1 (0 peers)"


async def test_a_machine_that_has_joined_is_told_who_renames_it(joined, daemon, management, meshloom, until):
    await until(lambda: daemon.files.last_map() is not None)
    done = await meshloom("up", "--hostname", "other")
    name = daemon.report.fqdn
    assert f"warning: this machine stays {name}: --hostname counts when a machine joins; who administers" in done.err
    assert done.code == 6, "scripts see that something which was asked for is not done"
    assert (await meshloom("up", "--hostname", name.partition(".")[0])).err == ""


@pytest.mark.parametrize(
    ("asked", "fqdn", "warns"),
    [
        ("desk", "laptop.mesh.test", True),
        ("Laptop.example.net", "laptop.mesh.test", False),
        ("laptop", "laptop-12-3.mesh.test", False),  # another machine had the name first
        ("", "laptop.mesh.test", False),
        ("laptop", "", False),  # it joins just now
    ],
)
def test_who_renames_a_machine_is_said_where_the_name_differs(asked, fqdn, warns):
    assert bool(renaming(asked, fqdn)) == warns


async def test_down_disconnects(joined, meshloom, tunnels):
    assert (await meshloom("down")).out == "Disconnected"
    assert tunnels.opened == {}
    assert json.loads((await meshloom("status", "--json")).out)["daemonStatus"] == "Idle"
    assert (await meshloom("up")).code == 0


async def test_logout_leaves_the_account(joined, meshloom, management):
    assert (await meshloom("deregister")).out == "Logged out"
    assert management.peers == {}
    status = await meshloom("status")
    assert status.code == 4
    for form in ("--json", "--yaml"):
        assert (await meshloom("status", form)).code == 4
    assert "meshloom up --setup-key" in status.out


@pytest.mark.parametrize("prefix", ["MESHLOOM_", "NB_"])
async def test_the_environment_says_what_flags_do_not(meshloom, management, daemon, tmp_path, prefix):
    (tmp_path / "key").write_text(SETUP_KEY.upper() + "\n")
    given = {
        "MANAGEMENT_URL": management.url,
        "SETUP_KEY_FILE": str(tmp_path / "key"),
        "WIREGUARD_PORT": "4000",
        "DISABLE_IPV6": "true",
        "INTERFACE_NAME": "test0",
    }
    done = await meshloom("up", **{prefix + name: value for name, value in given.items()})
    assert done.code == 0, done.err
    assert (daemon.settings.port, daemon.settings.ipv6, daemon.settings.interface) == (4000, False, "test0")


async def test_exit_codes_say_what_is_wrong(meshloom, management, socket, run):
    cases = [
        (("up",), 2, "meshloom up --management-url URL --setup-key KEY"),
        (("up", "-m", "nowhere"), 2, "--management-url"),
        (("up", "-m", "http://[::1"), 2, "--management-url"),
        (("up", "-m", management.url), 4, "this machine is not in the mesh yet: meshloom up --setup-key KEY"),
        (("up", "-m", management.url, "-k", SETUP_KEY.replace("1", "9")), 4, "no peer auth method"),
        (("up", "-m", management.url, "-k", "not-a-key"), 4, "not of the form"),
        (("up", "-m", management.url, "--wireguard-port", "70000"), 2, "70000"),
        (("up", "--enable-rosenpass"), 2, "No such option"),
        (("up", "-m", management.url, "--setup-key-file", "/nowhere/key"), 2, "--setup-key-file /nowhere/key"),
        (("ping", "nobody"), 1, "not connected"),
    ]
    for arguments, code, said in cases:
        done = await meshloom(*arguments)
        assert (done.code, said in done.err) == (code, True), (arguments, done)
        assert "not-a-key" not in done.err
    away = await run("status", "--daemon-addr", f"unix://{socket}x")
    assert (away.code, "meshloom service start" in away.err) == (3, True)
    await management.stop()
    gone = await meshloom("up", "-m", management.url, "-k", SETUP_KEY)
    assert (gone.code, f"{management.url}: connection refused; does meshloom-server run" in gone.err) == (1, True)


KEYS = {
    "peers", "cliVersion", "daemonVersion", "daemonStatus", "management", "signal", "relays", "netbirdIp", "publicKey",
    "usesKernelInterface", "wireguardPort", "fqdn", "quantumResistance", "quantumResistancePermissive", "networks",
    "forwardingRules", "dnsServers", "events", "lazyConnectionEnabled", "profileName", "sshServer",
}  # fmt: skip
PEER_KEYS = {
    "fqdn", "netbirdIp", "publicKey", "status", "lastStatusUpdate", "connectionType", "iceCandidateType",
    "iceCandidateEndpoint", "relayAddress", "lastWireguardHandshake", "transferReceived", "transferSent", "latency",
    "quantumResistance", "networks",
}  # fmt: skip


async def test_the_status_has_the_keys_that_scripts_know(connected, meshloom, management):
    answer = await meshloom("status", "--json")
    assert "\n" not in answer.out
    status = json.loads(answer.out)
    assert set(status) == KEYS
    (peer,) = status["peers"]["details"]
    assert set(peer) == PEER_KEYS
    assert (status["peers"]["total"], status["peers"]["connected"]) == (1, 1)
    assert status["management"] == {"url": management.url, "connected": True, "error": ""}
    assert (status["netbirdIp"], status["fqdn"]) == ("100.64.0.1/16", "peer1.mesh.test")
    assert (peer["status"], peer["connectionType"], peer["netbirdIp"]) == ("Connected", "P2P", "100.64.0.2")
    assert peer["iceCandidateEndpoint"] == {"local": "192.0.2.1:51820", "remote": "192.0.2.2:51820"}
    assert peer["lastWireguardHandshake"].endswith("Z")
    assert yaml.safe_load((await meshloom("status", "--yaml")).out).keys() == status.keys()
    assert (await meshloom("status", "-4")).out == "100.64.0.1"


async def test_the_status_as_text(connected, meshloom, management):
    lines = (await meshloom("status")).out.splitlines()
    assert "Management: Connected" in lines
    assert "IP: 100.64.0.1/16" in lines
    assert lines[-1] == "Peers count: 1/1 Connected"
    detail = (await meshloom("status", "-d")).out
    assert f"Management: Connected to {management.url}" in detail
    assert " peer2.mesh.test:\n  IP: 100.64.0.2\n" in detail
    assert "  ICE candidate (Local/Remote): host/host\n" in detail


async def test_a_daemon_that_was_never_up_has_a_status(meshloom):
    status = json.loads((await meshloom("status", "--json")).out)
    assert set(status) == KEYS
    assert (status["daemonStatus"], status["netbirdIp"], status["peers"]["details"]) == ("NeedsLogin", "", None)


async def test_the_socket_is_for_root_alone_unless_a_group_is_named(daemon, socket, tmp_path):
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        other = tmp_path / "other.sock"
        async with open_socket(daemon, other, "daemon"):
            assert stat.S_IMODE(other.stat().st_mode) == 0o660
            assert other.group() == "daemon"
        assert not other.exists()


async def test_two_daemons_do_not_share_a_socket(daemon, socket):
    with pytest.raises(ConfigError, match="another daemon listens there"):
        async with open_socket(daemon, socket):
            pass
    assert socket.exists()


async def test_a_socket_that_a_killed_daemon_left_is_replaced(daemon, tmp_path, run):
    left = tmp_path / "left.sock"
    async with await anyio.create_unix_listener(left):
        pass
    assert left.exists()
    async with open_socket(daemon, left):
        assert (await run("status", "--check", "live", "--daemon-addr", f"unix://{left}")).code == 0


async def test_what_needs_no_daemon_works_without(tmp_path, run):
    file = tmp_path / "agent.toml"
    file.write_text('log_level = "debug"\n')
    assert (await run("config", "check", str(file))).code == 0
    file.write_text('log_levle = "debug"\n')
    wrong = await run("config", "check", str(file))
    assert (wrong.code, "log_level" in wrong.err) == (2, True)
    assert (await run("version")).out.count(".") == 2
    assert "wireguard-go" in (await run("plugins")).out
    for shell in ("bash", "zsh", "fish"):
        assert "_MESHLOOM_COMPLETE" in (await run("completion", shell)).out


async def test_the_commands_load_nothing_heavy(tmp_path):
    heavy = ("grpc", "pyroute2", "yaml", "anyio", "google", "cattrs")
    code = f"import sys, meshloom_agent.cli; print([name for name in {heavy} if name in sys.modules])"
    done = await anyio.run_process([sys.executable, "-c", code])
    assert done.stdout.decode().strip() == "[]"
