"""A server and agents as real programs in network namespaces: what whole-system tests and the demo drive."""

import atexit
import functools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshloom.testing.namespaces import Host, wait_until

BIN = Path(sys.executable).parent
OWNER = {
    "email": "owner@example.test",
    "name": "Owner",
    "password": "correct horse battery staple 7",
    "create_pat": True,
}
STARTED = 60
"""Seconds in which a program starts, also on a machine that is busy with other tests."""

HTTP = """
import json, sys, urllib.error, urllib.request
method, url, token, secret = sys.argv[1:5]
headers = {"Content-Type": "application/json"}
headers |= {"Authorization": f"Token {token}"} if token else {}
headers |= {"X-Meshloom-Setup-Secret": secret} if secret else {}
request = urllib.request.Request(url, sys.stdin.buffer.read() or None, headers, method=method)
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        status, body = answer.status, answer.read()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read()
except OSError:
    status, body = 0, b""
try:
    body = json.loads(body)
except ValueError:
    body = body.decode(errors="replace")
print(json.dumps([status, body]))
"""
"""Runs inside the namespace: one request, its status (0: nobody answers) and body as JSON."""

READER = """
import contextlib, io, json, sys
from meshloom_agent.cli import main
for address in sys.stdin:
    said = io.StringIO()
    answer = None
    with contextlib.suppress(Exception):
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main(["status", "--json", "--daemon-addr", address.strip()], standalone_mode=False)
        answer = json.loads(said.getvalue())
    print(json.dumps(answer), flush=True)
"""
"""Runs once for all agents: who waits for a status asks for it many times, and each start of Python costs them all."""


class ServerProgram:
    """``meshloom-server`` on a host, on embedded defaults, with its owner's token once :meth:`set_up` was called.

    Args:
        programs: Folder of the program; another than this Python's where it is installed apart.
    """

    def __init__(self, host: Host, data: Path, port: int = 80, programs: Path = BIN) -> None:
        self.host, self.data = host, data
        self.url = f"http://{host.address}:{port}"
        self.log = data.with_suffix(".log")
        self.token = ""
        self._port, self._programs = port, programs
        self.program: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, **environment: str) -> None:
        """Start it (again) and wait until it answers."""
        self.program = self.host.start(
            self._programs / "meshloom-server",
            *("--listen", f"{self.host.address}:{self._port}", "--public-url", self.url),
            *("--data-dir", self.data, "--stun-port", "3478", "--metrics", "127.0.0.1:9090"),
            *flags,
            log=self.log,
            **environment,
        )
        what = f"{self.url} answers; see {self.log}"
        wait_until(lambda: self.api("GET", "/api/instance")[0] == 200, STARTED, what, every=0.1)

    def set_up(self) -> None:
        """Make the owner, as the first start asks for."""
        status, made = self.api("POST", "/api/setup", OWNER, secret=self._setup_secret())
        assert status == 200, made
        self.token = made["personal_access_token"]

    def _setup_secret(self) -> str:
        """What the server keeps for its first set-up; empty where it is open to everybody."""
        file = self.data / "setup.secret"
        return file.read_text().strip() if file.exists() else ""

    def api(self, method: str, path: str, body: Any = None, *, secret: str = "") -> tuple[int, Any]:
        """One request of the HTTP API by the owner: status (0 where nobody answers) and body."""
        text = "" if body is None else json.dumps(body)
        out = self.host.run(sys.executable, "-c", HTTP, method, self.url + path, self.token, secret, input=text)
        status, answer = json.loads(out)
        return int(status), answer

    def setup_key(self, **about: Any) -> str:
        """A new key to enrol machines with; reusable unless said otherwise."""
        body = {"name": "machines", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}
        status, made = self.api("POST", "/api/setup-keys", body | about)
        assert status == 200, made
        return str(made["key"])


class AgentProgram:
    """The agent's daemon on a host, and its command line."""

    def __init__(self, host: Host, state: Path, *, arguments: tuple[str, ...] = (), **environment: str) -> None:
        self.host, self.state = host, state
        self.socket = state.with_suffix(".sock")
        self.log = state.with_suffix(".log")
        self._arguments, self._environment = arguments, environment
        self.program: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon (again) and wait until its socket is there."""
        self.program = self.host.start(
            BIN / "meshloom",
            *("service", "run", "--state-dir", self.state, "--daemon-addr", f"unix://{self.socket}"),
            *self._arguments,
            log=self.log,
            **self._environment,
        )
        wait_until(self._listens, STARTED, f"the daemon of {self.host.name} listens; see {self.log}")

    def _listens(self) -> bool:
        """Whether the socket is there and, after a kill, is not the old one."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def run(self, *argv: str, check: bool = True) -> str:
        """``meshloom ARGV`` against this daemon."""
        return self.host.run(BIN / "meshloom", *argv, "--daemon-addr", f"unix://{self.socket}", check=check)

    def up(self, server: str, key: str, *flags: str) -> str:
        """Join the mesh."""
        return self.run("up", "--management-url", server, "--setup-key", key, "--hostname", self.host.name, *flags)

    def status(self) -> dict[str, Any]:
        """The daemon's status, in NetBird's keys.

        Raises:
            AssertionError: There is none, with what the command line says in the message.
        """
        found = _reader().read(f"unix://{self.socket}")
        answer: dict[str, Any] = json.loads(self.run("status", "--json")) if found is None else found
        return answer

    @property
    def address(self) -> str:
        """The overlay address, without its prefix length."""
        return str(self.status()["netbirdIp"]).partition("/")[0]

    def peer(self, name: str) -> dict[str, Any]:
        """What the status says of the peer with that host name; empty where it does not know it."""
        details: list[dict[str, Any]] = self.status()["peers"]["details"] or []
        return next((peer for peer in details if peer["fqdn"].split(".")[0] == name), {})

    def wait_for(self, name: str, fact: Callable[[dict[str, Any]], Any], within: float, what: str) -> None:
        """Wait until *fact* holds of the peer with that host name."""
        wait_until(lambda: fact(self.peer(name)), within, f"{self.host.name}: {name} {what}; see {self.log}", every=0.1)

    def ping(self, address: str, count: int = 1, timeout: float = 10) -> bool:
        """Whether any of *count* pings is answered in time."""
        out = self.host.run("ping", "-n", "-c", str(count), "-i", "0.2", "-w", str(int(timeout)), address, check=False)
        return " 0 received" not in out and "bytes from" in out


class StatusReader:
    """``meshloom status --json``, started once and asked over and over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program = subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        atexit.register(self.close)

    def read(self, address: str) -> dict[str, Any] | None:
        """Returns the status of the daemon with that address; None where it gives none."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        with self._lock:
            self._program.stdin.write(f"{address}\n")
            self._program.stdin.flush()
            answer: dict[str, Any] | None = json.loads(self._program.stdout.readline())
        return answer

    def close(self) -> None:
        """Ends the program."""
        self._program.communicate()


@functools.cache
def _reader() -> StatusReader:
    return StatusReader()


def is_relayed(peer: dict[str, Any]) -> bool:
    """Whether a peer of the status is connected through a relay."""
    return peer.get("status") == "Connected" and peer.get("connectionType") == "Relayed"


def is_direct(peer: dict[str, Any]) -> bool:
    """Whether a peer of the status is connected on a direct path."""
    return peer.get("status") == "Connected" and peer.get("connectionType") == "P2P"
