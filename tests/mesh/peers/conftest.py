"""Unmodified NetBird programs, as black boxes; their paths come from the environment."""

import json
import os

import pytest

from meshloom.testing.deployment import ServerProgram
from meshloom.testing.namespaces import NAT, wait_until

CLIENT = "MESHLOOM_NETBIRD_CLIENT"
SERVER = "MESHLOOM_NETBIRD_SERVER"

CONFIG = """
server:
  listenAddress: ":80"
  exposedAddress: "{url}"
  stunPorts: [3478]
  metricsPort: 9090
  healthcheckAddress: ":9000"
  logFile: "console"
  authSecret: "a secret of this test"
  dataDir: "{data}"
  disableAnonymousMetrics: true
  disableGeoliteUpdate: true
  auth:
    issuer: "{url}/oauth2"
  store:
    engine: "sqlite"
    encryptionKey: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""


def program(variable):
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} does not name a NetBird program")
    return path


class NetBirdServer(ServerProgram):
    """NetBird's combined server; what is asked of its HTTP API is the same."""

    def start(self, *flags):
        self.data.mkdir(exist_ok=True)
        config = self.data / "config.yaml"
        config.write_text(CONFIG.format(url=self.url, data=self.data))
        environment = {"NB_SETUP_PAT_ENABLED": "true", "NB_DISABLE_GEOLOCATION": "true"}
        self.program = self.host.start(program(SERVER), "--config", config, log=self.log, **environment)
        wait_until(lambda: self.api("GET", "/api/instance")[0] == 200, 30, f"{self.url} answers; see {self.log}")


class NetBirdClient:
    """NetBird's daemon on a host, and its command line."""

    def __init__(self, host, state):
        self.host, self.state, self.program = host, state, program(CLIENT)
        state.mkdir()
        self.socket = f"unix://{state}/sock"
        self.log = state / "client.log"
        files = ("--config", state / "config.json", "--log-file", self.log, "--log-level", "debug")
        host.start(self.program, "service", "run", *files, "--daemon-addr", self.socket, NB_STATE_DIR=str(state))
        wait_until((state / "sock").exists, 20, "the client's daemon listens")

    def run(self, *argv, check=True):
        return self.host.run(self.program, *argv, "--daemon-addr", self.socket, check=check)

    def up(self, url, key):
        return self.run("up", "--management-url", url, "--setup-key", key, "--hostname", self.host.name)

    def status(self):
        return json.loads(self.run("status", "--json"))

    @property
    def address(self):
        return self.status()["netbirdIp"].partition("/")[0]

    def peer(self, name):
        details = self.status()["peers"]["details"] or []
        return next((peer for peer in details if peer["fqdn"].split(".")[0] == name), {})

    def wait_for(self, name, fact, within, what):
        wait_until(lambda: fact(self.peer(name)), within, f"{self.host.name}: {name} {what}; see {self.log}", every=0.2)

    def ping(self, address, count=1, timeout=10):
        out = self.host.run("ping", "-n", "-c", str(count), "-i", "0.2", "-w", str(timeout), address, check=False)
        return "bytes from" in out


@pytest.fixture
def client(internet, behind):
    """Makes an unmodified client that has joined."""

    def make(name, url, key, nat=NAT.PORT_RESTRICTED):
        made = NetBirdClient(behind(name, nat), internet.folder / name)
        made.up(url, key)
        return made

    return make


@pytest.fixture
def netbird_server(internet):
    made = NetBirdServer(internet.host("server"), internet.folder / "server")
    made.start()
    made.set_up()
    return made
