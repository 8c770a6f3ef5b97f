"""Servers as programs on loopback, and an agent's client for them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import attrs
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom.testing.deployment import OWNER, STARTED
from meshloom.testing.namespaces import wait_until
from meshloom.testing.ports import free_port
from meshloom_agent.channel import parse_url
from meshloom_agent.files import new_ssh_key
from meshloom_agent.management_client import ManagementClient

BIN = Path(sys.executable).parent


@attrs.define
class Program:
    """``meshloom-server`` with ports of its own."""

    data: Path
    log: Path
    name: str = "meshloom-server"
    scheme: str = "http"
    context: object = None
    flags: tuple = ()
    prefix: tuple = ()
    environment: dict = attrs.Factory(dict)
    port: int = attrs.Factory(free_port)
    stun: int = attrs.Factory(free_port)
    metrics: int = attrs.Factory(free_port)
    token: str = ""
    process: object = None

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def said(self):
        return self.log.read_text()

    def command(self):
        return [
            *self.prefix,
            *(BIN / self.name, "--listen", f"127.0.0.1:{self.port}", "--public-url", self.url, "--data-dir", self.data),
            *("--stun-port", str(self.stun), "--metrics", f"127.0.0.1:{self.metrics}", *self.flags),
        ]

    def launch(self):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("NB_", "MESHLOOM_"))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean | self.environment,
            )

    def start(self):
        self.launch()
        wait_until(self.is_ready, STARTED, f"the server is ready; it said {self.said}")
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.said
        with contextlib.suppress(OSError):
            return self.get(f"http://127.0.0.1:{self.metrics}/health/ready")[0] == 200
        return False

    def refused(self):
        """Start where it cannot: its exit code and what it said."""
        self.launch()
        return self.process.wait(timeout=120), self.said

    def get(self, url, method="GET", body=None, **headers):
        headers |= {"Authorization": f"Token {self.token}"} if self.token else {}
        headers |= {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.context) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def api(self, method, path, body=None, **headers):
        status, answer = self.get(self.url + path, method, body, **headers)
        return status, json.loads(answer)

    def set_up(self):
        kept = Path(f"/proc/{self.process.pid}/root{self.data}/setup.secret")  # also in a mount namespace of its own
        secret = {"X-Meshloom-Setup-Secret": kept.read_text().strip()}
        status, made = self.api("POST", "/api/setup", OWNER, **secret)
        assert status == 200, made
        self.token = made["personal_access_token"]
        return self

    def setup_key(self, **about):
        body = {"name": "k", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}
        status, made = self.api("POST", "/api/setup-keys", body | about)
        assert status == 200, made
        return made["key"]

    def stop(self, how=signal.SIGTERM, within=10):
        self.process.send_signal(how)
        return self.process.wait(timeout=within)


@pytest.fixture
def program(tmp_path):
    """Makes servers; what still runs in the end is killed."""
    made = []

    def make(**how):
        number = len(made)
        made.append(Program(tmp_path / f"data{number}", tmp_path / f"log{number}", **how))
        return made[-1]

    yield make
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.process.kill()
            each.process.wait()


class Machine:
    """An agent's side of management, without a tunnel."""

    def __init__(self, url, roots=b""):
        self.key = PrivateKey.of(os.urandom(32))
        self.client = ManagementClient(parse_url(url), self.key, roots)

    async def login(self, key="", name="machine"):
        return await self.client.login(pb.PeerSystemMeta(hostname=name), new_ssh_key(), key)

    def sync(self):
        return self.client.sync(pb.PeerSystemMeta(hostname="machine"))


@pytest.fixture
async def machine():
    """Makes machines."""
    made = []

    def make(url, roots=b""):
        made.append(Machine(url, roots))
        return made[-1]

    yield make
    for each in made:
        await each.client.close()


@pytest.fixture
def certificate(tmp_path):
    """Makes a certificate for loopback, and its key, in place of an older one."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"

    def make():
        subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        kind = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        subprocess.run([*kind, "-keyout", files[1], "-out", files[0], *subject], check=True, capture_output=True)
        return files

    return make
