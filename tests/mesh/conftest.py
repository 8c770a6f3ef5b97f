"""Whole systems in network namespaces."""

import os
import shutil
import signal

import pytest

from meshloom.testing.deployment import AgentProgram, ServerProgram
from meshloom.testing.namespaces import NAT, Internet, missing_programs, wait_until


@pytest.fixture(scope="session")
def may_make_namespaces():
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: run make setup-tests")


@pytest.fixture
def internet(may_make_namespaces):
    with Internet() as made:
        yield made


@pytest.fixture
def server(internet):
    """A server of ours, its owner made."""
    program = ServerProgram(internet.host("server"), internet.folder / "server")
    program.start()
    program.set_up()
    return program


@pytest.fixture
def behind(internet):
    """Makes a machine behind a router of its own, of the NAT kind asked for (None: a public address)."""

    def make(name, nat):
        if nat is None:
            return internet.host(name)
        router = internet.router(f"router-{name}")
        host = router.host(name)
        router.translate(nat, host)
        return host

    return make


@pytest.fixture
def agent(internet, behind):
    """Makes an agent of ours that has joined the server."""

    def make(name, url, key, nat=NAT.PORT_RESTRICTED, flags=()):
        made = AgentProgram(behind(name, nat), internet.folder / name)
        made.start()
        made.up(url, key, *flags)
        return made

    return make


@pytest.fixture
def clone(internet):
    """Makes a machine whose disk is a copy of another one's."""

    def make(original):
        folder = internet.folder / "clone"
        shutil.copytree(original.state, folder)
        made = AgentProgram(internet.host("clone"), folder)
        made.start()
        return made

    return make


class Coturn:
    """A real TURN server, with a secret for expiring users or with one static user."""

    USER, PASSWORD = "mesh", "a static word"
    SECRET = "a secret that coturn and management share"

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self.log = folder / f"{host.name}.log"
        self.program = None

    def start(self, *options, static=False):
        """Start it (again), and wait until it listens."""
        user = ("--lt-cred-mech", "--user", f"{self.USER}:{self.PASSWORD}")
        secret = ("--use-auth-secret", "--static-auth-secret", self.SECRET)
        self.program = self.host.start(
            *("turnserver", "-n", "--no-cli", "--verbose", "--no-tlsv1", "--no-tlsv1_1", "--realm", "mesh.test"),
            *("--listening-ip", self.host.address, "--relay-ip", self.host.address),
            *("--pidfile", self.folder / f"{self.host.name}.pid", "--userdb", self.folder / f"{self.host.name}.db"),
            *("--log-file", "stdout", "--simple-log"),
            *(user if static else secret),
            *options,
            log=self.log,
        )
        wait_until(lambda: ":3478" in self.host.run("ss", "-Hltn"), 10, f"coturn listens; see {self.log}")

    def kill(self):
        """It is gone, and says nothing to anybody."""
        self.program.send_signal(signal.SIGKILL)
        self.program.wait()

    def url(self, transport="udp"):
        return f"turn:{self.host.address}:3478?transport={transport}"

    @property
    def says(self):
        return self.log.read_text(errors="replace")


@pytest.fixture
def coturn(internet):
    if missing_programs(("turnserver",)):
        pytest.skip("needs turnserver: run make setup-tests")
    made = Coturn(internet.host("turn"), internet.folder)
    internet.backbone.ip("address add 203.0.113.1/24 dev net")  # what has no address there is lost without a word
    made.host.ip("route add default via 203.0.113.1")
    return made


@pytest.fixture
def told_of(internet, coturn):
    """Makes a server of ours without a relay that tells of TURN servers."""

    def make(*urls, static=False):
        made = ServerProgram(internet.host("server"), internet.folder / "server")
        flags, environment = (), {"MESHLOOM_TURN_SECRET": coturn.SECRET}
        if static:
            flags, environment = ("--turn-user", coturn.USER), {"MESHLOOM_TURN_PASSWORD": coturn.PASSWORD}
        made.start("--relay-enabled", "false", "--turn-urls", ",".join(urls), *flags, **environment)
        made.set_up()
        return made

    return make
