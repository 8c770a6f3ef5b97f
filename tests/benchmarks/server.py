"""A server process that benchmarks talk to, and what a process costs."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

BIN = Path(sys.executable).parent
TRUST_ALL = ssl.create_default_context()
TRUST_ALL.check_hostname, TRUST_ALL.verify_mode = False, ssl.CERT_NONE
TICK = os.sysconf("SC_CLK_TCK")


class Process:
    """CPU time and memory of a process that runs."""

    def __init__(self, pid):
        self.pid = pid

    def cpu(self):
        """Seconds of CPU, its own and the kernel's for it."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        """Resident, in MB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def share(self):
        """Resident, in MB, where what several processes share counts in part for each."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


class Server(Process):
    """``meshloom-server`` with SQLite, as it comes, and an account with a key."""

    def __init__(self, folder, port, certificate=()):
        self.port, self.url = port, f"http{'s' if certificate else ''}://127.0.0.1:{port}"
        where = ("--listen", f"127.0.0.1:{port}", "--public-url", self.url, "--data-dir", folder, "--metrics", "")
        stun = ("--stun-port", str(free_port(socket.SOCK_DGRAM)), "--log-level", "warning")
        tls = ("--tls-certificate", certificate[0], "--tls-key", certificate[1]) if certificate else ()
        self.process = subprocess.Popen([BIN / "meshloom-server", *where, *stun, *tls])
        super().__init__(self.process.pid)
        self.token = ""
        for _ in range(400):
            try:
                self.api("GET", "/api/instance")
                break
            except OSError:
                time.sleep(0.05)
        owner = {"email": "o@example.test", "name": "O", "password": "a long password", "create_pat": True}
        secret = {"X-Meshloom-Setup-Secret": (Path(folder) / "setup.secret").read_text().strip()}
        self.token = self.api("POST", "/api/setup", owner, **secret)["personal_access_token"]
        self.key = self.make_key()

    def make_key(self, *groups):
        """A reusable setup key."""
        body = {"name": "k", "type": "reusable", "expires_in": 86400, "auto_groups": groups, "usage_limit": 0}
        return self.api("POST", "/api/setup-keys", body)["key"].lower()

    def make_group(self, name, *peers):
        """A group's id."""
        return self.api("POST", "/api/groups", {"name": name, "peers": peers})["id"]

    def allow(self, name, sources, destinations, protocol="all", ports=()):
        """A policy between groups."""
        rule = {"name": name, "enabled": True, "action": "accept", "bidirectional": True, "protocol": protocol}
        rule |= {"sources": sources, "destinations": destinations, "ports": ports}
        return self.api("POST", "/api/policies", {"name": name, "enabled": True, "rules": [rule]})

    def restrict(self, policy, ports):
        """The policy for some ports of TCP only."""
        rule = {**policy["rules"][0], "protocol": "tcp", "ports": ports}
        for side in ("sources", "destinations"):
            rule[side] = [group["id"] for group in rule[side]]
        self.api("PUT", f"/api/policies/{policy['id']}", {**policy, "rules": [rule]})

    def api(self, method, path, body=None, **headers):
        """A call of the HTTP API."""
        data = None if body is None else json.dumps(body).encode()
        headers |= {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Token {self.token}"} if self.token else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60, context=TRUST_ALL) as answer:
            return json.loads(answer.read() or "null")

    def stop(self):
        """Leave nothing behind."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running_server(certificate=()):
    """A server of one's own, with an empty account; with TLS where a certificate and its key are given."""
    with TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", free_port(), certificate)
        try:
            yield server
        finally:
            server.stop()


def free_port(kind=socket.SOCK_STREAM):
    """A port of loopback that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]
