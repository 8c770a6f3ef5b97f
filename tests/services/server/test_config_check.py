"""``config check`` and the start say the same of every configuration: one validation for both."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshloom.config import keys_of
from meshloom.errors import ConfigError
from meshloom.service import read_setup
from meshloom.testing.certificates import make_certificate
from meshloom.testing.ports import free_port
from meshloom_agent.checked import read_checked
from meshloom_agent.cli import main as agent
from meshloom_agent.config import AgentConfig
from meshloom_front.checking import check_setup
from meshloom_front.config import ServerConfig
from meshloom_management import main as management
from meshloom_relay import main as relay
from meshloom_server import main as server
from meshloom_signal import main as signal
from meshloom_stun import main as stun

BIN = Path(sys.executable).parent
PROGRAMS = {"server": server, "management": management, "signal": signal, "relay": relay, "stun": stun}
VALUES = {
    "listen": [":0", "[::1]:0", "127.0.0.1", "nonsense", "192.0.2.1:0", "127.0.0.1:99999"],
    "metrics": ["127.0.0.1:0", "nonsense", "192.0.2.1:0", ":x", "127.0.0.1:99999"],
    "public_url": ["http://127.0.0.1", "https://mesh.test", "https://mesh.test/path", "nonsense", "ftp://mesh.test"],
    "signal_url": ["http://127.0.0.1:10000", "http://mesh.test/path", "mesh.test"],
    "stun_port": [80000, -1],
    "stun_alternate_port": [70000, -1],
    "stun_urls": [["stun:stun.test"], ["stun:[2001:db8::1]:3478"], ["stun.test:3478"], ["stun:stun.test:99999"]],
    "dns_domain": ["mesh.test", "", "-mesh.test", "mesh test", "mesh..test", f"{'a' * 64}.test"],
    "default_policy": [False, "perhaps"],
    "stun_alternate_address": ["127.0.0.2", "192.0.2.1", "nonsense"],
    "log_level": ["DEBUG", "loud"],
    "network_range": ["100.80.0.0/16", "127.0.0.0/16", "0.0.0.0/0", "10.0.0.0/30", "nonsense"],
    "network_range_v6": ["fd12:3456:789a:1::/64", "fe80::/64", "ff00::/64"],
    "setup_pat_enabled": [True, "perhaps"],
    "trusted_proxies": [["10.0.0.0/8"], ["nonsense"]],
    "data_dir": ["FOLDER/file", "FOLDER/file/below", "FOLDER/made/below"],
    "tls": [
        {"certificate": "FOLDER/certificate.pem", "key": "FOLDER/key.pem"},
        {"certificate": "FOLDER/certificate.pem"},
        {"certificate": "FOLDER/missing", "key": "FOLDER/key.pem"},
        {"certificate": "FOLDER/file", "key": "FOLDER/file"},
    ],
    "relay": [
        {"enabled": False},
        {"urls": ["rel://relay.test:80"]},
        {"urls": ["rel://relay.test:80"], "secret": "shared"},
        {"urls": ["nonsense"], "secret": "shared"},
        {"urls": ["rel://relay.test:80"], "secret": "shared", "weights": [1, 2]},
        {"secret": "  "},
        {"public_url": "nonsense"},
        {"token_lifetime": "1s"},
        {"health_interval": "1ms"},
        {"health_interval": 0},
        {"max_peers": 0},
        {"total_rate": -1},
        {"enabled": False, "max_peers": 0},
    ],
    "turn": [
        {"urls": ["turn:turn.test:3478"]},
        {"urls": ["turn:turn.test:3478"], "secret": "shared"},
        {"urls": ["nonsense"], "secret": "shared"},
        {"urls": ["turn:turn.test:3478"], "secret": "shared", "lifetime": "1s"},
        {"urls": ["turn:turn.test:3478"], "secret": "shared", "user": "mesh"},
    ],
    "store": [
        {"backend": "nonsense"},
        {"backend": "sqlite"},
        {"sqlite": {"file": ""}},
        {"sqlite": {"file": "FOLDER/"}},
    ],
    "nonsense": [1],
}
"""Values of keys, good and bad; FOLDER stands for one of the test."""
CONFIGURATIONS = st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: st.sampled_from(VALUES[key]) for key in keys})
)


def as_toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("check")
    make_certificate(made, "127.0.0.1")
    (made / "file").write_text("nonsense")
    return made


@pytest.fixture(scope="module")
def write(folder):
    """Writes a configuration with these values in place of some that are good."""

    def make(values):
        good = {"listen": "127.0.0.1:0", "metrics": "", "data_dir": "FOLDER/data", "stun_port": 0}
        text = "\n".join(
            f"{key} = {as_toml(value)}" for key, value in (good | {"store": {"backend": "memory"}} | values).items()
        )
        file = folder / "config.toml"
        file.write_text(text.replace("FOLDER", str(folder)))
        return file

    return make


def checked(command, file):
    """What ``config check`` says, a problem a line; empty where all is good."""
    done = CliRunner().invoke(command, ["config", "check", str(file)])
    assert done.exit_code in (0, 2), done.output
    return done.stderr.splitlines() if done.exit_code else []


def started(program, file, folder):
    """Starts as the program does; returns the problems for which it refuses, or nothing once it serves."""
    manager = folder / "manager"
    manager.unlink(missing_ok=True)

    async def run(setup):
        async with anyio.create_task_group() as tasks:

            async def end_when_ready():
                await anyio.wait_readable(told)
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_when_ready)
            try:
                await program.run(setup)
            finally:
                with anyio.CancelScope(shield=True):
                    for _ in range(5):
                        await anyio.lowlevel.checkpoint()  # in which the loop closes what was given up

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, pytest.MonkeyPatch.context() as patch:
        told.bind(str(manager))
        told.setblocking(False)
        patch.setenv("NOTIFY_SOCKET", str(manager))
        try:
            setup = read_setup(ServerConfig, program.main.kinds, file, environment={})
            check_setup(setup, program.main.checks)
            anyio.run(run, setup)
        except (ConfigError, BaseExceptionGroup) as error:
            found = error
            while isinstance(found, BaseExceptionGroup):
                found = found.exceptions[0]
            if not isinstance(found, ConfigError):
                raise
            return list(found.sentences)
    return []


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_start_refuses_is_what_the_check_says(name, folder, write, monkeypatch):
    for variable in [each for each in os.environ if each.startswith(("MESHLOOM_", "NB_"))]:
        monkeypatch.delenv(variable)

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(values=CONFIGURATIONS)
    def property_holds(values):
        file = write(values)
        assert started(PROGRAMS[name], file, folder) == checked(PROGRAMS[name].main, file)

    property_holds()


SINGLY = [(key, value) for key, values in VALUES.items() for value in values]


def test_the_same_for_each_value_alone(folder, write):
    """Of what the check calls good, nothing is refused; the rest is refused by the same sentences."""
    wrong = []
    for key, value in SINGLY:
        file = write({key: value})
        said, refused = checked(server.main, file), started(server, file, folder)
        if said != refused:
            wrong.append((key, value, said, refused))
    assert wrong == []


BAD = {
    "stun_port = 80000": "stun_port = 80000: not a UDP port; write 1 to 65535",
    'public_url = "https://mesh.test/path"': "a server is reached at a host and a port alone",
    'network_range = "127.0.0.0/16"': "network_range = '127.0.0.0/16': no mesh can have it",
    '[tls]\ncertificate = "/nowhere"\nkey = "/nowhere"': "tls.certificate = '/nowhere': cannot be read",
    "[relay]\nmax_peers = 0": "relay.max_peers = 0: must be at least 1",
    '[turn]\nurls = ["nonsense"]': "turn.urls",
    'log_level = "loud"': "log_level = 'loud': no such level",
    'stun_urls = ["stun.test:3478"]': "stun_urls: 'stun.test:3478' is not a STUN server; write it like stun:stun.exam",
    'dns_domain = "mesh test"': "dns_domain = 'mesh test': not a domain of DNS; write it like meshloom.internal",
    '[relay]\nhealth_interval = "1ms"': "relay.health_interval = 0:00:00.001000: must be at least 0:00:01, or 0 for ",
}


APART = {
    'metrics = "127.0.0.1:PORT"\nstun_port = 0': "metrics = '127.0.0.1:PORT': is the port of listen, too; choose ano",
    'metrics = ":PORT"\nstun_port = 0': "metrics = ':PORT': is the port of listen, too; choose another",
    'metrics = ""\nstun_port = PORT': "stun_port = PORT: UDP PORT is the relay's, by QUIC, as listen says; choose",
    'metrics = ""\nstun_port = 0\nstun_alternate_port = PORT': "stun_alternate_port = PORT: UDP PORT is the relay's",
}


@pytest.mark.parametrize("text", APART)
def test_two_keys_that_want_one_port_are_told_before_either_has_it(text, tmp_path):
    file, port = tmp_path / "server.toml", str(free_port())
    file.write_text(f'data_dir = "{tmp_path}/data"\nlisten = "127.0.0.1:PORT"\n{text}\n'.replace("PORT", port))
    assert APART[text].replace("PORT", port) in refused_by_both(file)
    assert not (tmp_path / "data").exists()


def refused_by_both(file):
    """What the check and the start say alike."""
    check = run(BIN / "meshloom-server", "config", "check", file)
    start = run(BIN / "meshloom-server", "--config", file)
    assert (check.returncode, start.returncode) == (2, 2), (check, start)
    assert start.stderr == f"error: {check.stderr}"
    return check.stderr


def run(*argv):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NB_", "MESHLOOM_"))}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=clean)


@pytest.mark.parametrize("text", BAD)
def test_the_program_says_it_before_it_starts(text, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text(f'data_dir = "{tmp_path}/data"\nlisten = "127.0.0.1:0"\n{text}\n')
    assert BAD[text] in refused_by_both(file)
    assert not (tmp_path / "data").exists()


def test_all_problems_are_told_at_once(tmp_path):
    file = tmp_path / "server.toml"
    file.write_text('listen = "nonsense"\nlog_level = "loud"\nstun_port = 80000\n[relay]\nmax_peers = 0\n')
    said = run(BIN / "meshloom-server", "config", "check", file).stderr
    assert [line.split(" = ")[0].split(": ")[-1] for line in said.splitlines()] == [
        "log_level", "listen", "stun_port", "relay.max_peers",
    ]  # fmt: skip


NONSENSE = "n o n s e n s e"
ANY_TEXT = {"turn.user"}
"""Keys that take every text."""


def texts_of(config):
    """The keys that are text, or a list of texts."""
    return [key for key in keys_of(config) if key.type in (str, tuple[str, ...]) and key.name not in ANY_TEXT]


def with_nonsense(key):
    value = as_toml(NONSENSE if key.type is str else [NONSENSE])
    table, _, name = key.name.rpartition(".")
    return f"[{table}]\n{name} = {value}\n" if table else f"{key.name} = {value}\n"


def test_a_text_that_nobody_could_use_is_refused_whatever_the_key(tmp_path):
    file, taken = tmp_path / "all.toml", []
    for command, config in ((server.main, ServerConfig), (agent, AgentConfig)):
        for key in texts_of(config):
            file.write_text(with_nonsense(key))
            said = checked(command, file)
            if not any(key.name in line for line in said):
                taken.append(key.name)
    assert taken == []


def test_every_key_of_the_servers_is_compared():
    assert {key.name.partition(".")[0] for key in keys_of(ServerConfig)} <= set(VALUES)


AGENT = {
    'log_level = "loud"': "log_level",
    'metrics = "nonsense"': "metrics",
    'metrics = "192.0.2.1:9091"': "metrics",
    'extra_roots = "/nowhere"': "extra_roots",
    'socket_group = "nobody-has-it"': "socket_group",
    'proxy = "socks5://user:hushhush@127.0.0.1:1080"': "proxy",
    '[tunnel]\nbackend = "nonsense"': "tunnel.backend",
}


@pytest.mark.parametrize("text", AGENT)
def test_so_does_the_agent_s(text, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(f"{text}\n")
    check = run(BIN / "meshloom", "config", "check", file)
    there = ("--state-dir", tmp_path / "state", "--daemon-addr", f"unix://{tmp_path}/a.sock")
    start = run(BIN / "meshloom", "service", "run", "--config", file, *there)
    assert (check.returncode, start.returncode) == (2, 2), (check, start)
    assert re.search(f"{file}: {AGENT[text]}( =|:) ", check.stderr)
    assert "hushhush" not in check.stderr
    assert start.stderr == f"error: {check.stderr}"
    assert not (tmp_path / "state").exists()


def test_a_good_configuration_of_the_agent_is_read(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text('log_level = "debug"\nmetrics = "[::1]:0"\n')
    assert read_checked(file, {}).config.log_level == "debug"
