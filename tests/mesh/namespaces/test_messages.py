"""What the real programs say in the situations that everybody meets: a table of situation, text and exit code."""

import signal
import subprocess

import attrs
import pytest

from meshloom.testing.certificates import make_certificate
from meshloom.testing.deployment import BIN, AgentProgram
from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh]

BAD_KEY = "3bd5b000-0000-4000-8000-000000000000"
WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-net_bind_service")
NOT_IN_MESH = "error: this machine is not in the mesh yet: meshloom up --setup-key KEY"


@attrs.frozen
class Row:
    """One situation.

    Attributes:
        at: Name of the host.
        argv: What is run; `meshloom` with the host's daemon, and a path with nothing added.
        text: What it says, in one line; names in braces are those of the world.
        code: Its exit code; None where it depends on the machine that runs the tests.
    """

    situation: str
    at: str
    argv: str
    text: str
    code: int | None


TABLE = [
    Row("no daemon runs", "desktop", "status", "error: no daemon listens on {socket}: start it with `meshloom", 3),
    Row("the daemon is another user's", "laptop", "rightless status", "error: permission denied: use sudo, or join", 3),
    Row("never joined", "new", "status", "Not joined. meshloom up --management-url URL --setup-key KEY", 4),
    Row("no server known", "new", "up", "error: no server is known yet: meshloom up --management-url URL", 2),
    Row("up without a key", "new", "up -m {url}", NOT_IN_MESH, 4),
    Row(
        "a refused key",
        "new",
        "up -m {url} -k {bad}",
        "error: the server refuses key 3BD5B...: unknown, expired, revoked or used up",
        4,
    ),
    Row(
        "a used key",
        "new",
        "up -m {url} -k {used}",
        "error: the server refuses key {used_hint}...: unknown, expired, revoked or used up",
        4,
    ),
    Row("something else than a key", "new", "up -m {url} -k word", "error: the setup key is not of the form XXXX", 4),
    Row(
        "an unknown CA",
        "new",
        "up -m {tls} -k {bad}",
        "error: the certificate of {tls_host} is not trusted here: install its CA or set MESHLOOM_EXTRA_ROOTS",
        1,
    ),
    Row(
        "nobody listens",
        "new",
        "up -m {url}:81 -k {bad}",
        "error: {url}:81: connection refused; does meshloom-server run, is the port right?",
        1,
    ),
    Row("https to a plain port", "new", "up -m https://{host}:80 -k {bad}", "no TLS there; is the port right", 1),
    Row("http to a TLS port", "new", "up -m http://{tls_host}:443 -k {bad}", "the connection was cut; is the port", 1),
    Row("no route", "new", "up -m http://192.0.2.1 -k {bad}", "network is unreachable; is this machine online", 1),
    Row("a name without address", "new", "up -m http://no.invalid -k {bad}", "no.invalid has no address (", 1),
    Row(
        "success",
        "laptop",
        "up -m {url} -k {key} -n laptop --force-relay",
        "Connected as {laptop}, {address} (1 peer)",
        0,
    ),
    Row("once more", "laptop", "up", "Already connected as {laptop}, {address} (1 peer)", 0),
    Row("a ping of oneself", "laptop", "ping laptop", "error: that is this machine", 1),
    Row("the same by address", "laptop", "ping {address}", "error: that is this machine", 1),
    Row("a ping through a relay", "laptop", "ping far -c 2", ", relayed through rel://{host}:80 by WebSocket (", 0),
    Row("the relays", "laptop", "status -d", "[rel://{host}:80] is Available by WebSocket", 0),
    Row("free space", "laptop", "doctor", "is private and has {space} left", None),
    Row("another name", "laptop", "up -n other", "warning: this machine stays {laptop}: --hostname counts when", 6),
    Row("nobody of that name", "laptop", "ping nobody", "error: nobody: no such peer, or no policy lets this", 1),
    Row("a frozen daemon", "laptop", "frozen status", "error: the daemon does not answer: is it stopped, or the", 5),
    Row("a policy cut", "laptop", "cut ping far", "error: far: no such peer, or no policy lets this", 1),
    Row(
        "a taken port",
        "server",
        "/meshloom-server --listen {host}:80",
        "error: listen = '{host}:80': cannot listen there: Address already in use by meshloom-server (pid {pid})",
        2,
    ),
    Row(
        "a taken UDP port",
        "server",
        "/meshloom-server --listen {host}:8080",
        "error: stun_port = 3478: cannot listen there: Address already in use by meshloom-server (pid {pid})",
        2,
    ),
    Row(
        "a port for root",
        "server",
        "rightless /meshloom-server --listen {host}:81",
        "error: listen = '{host}:81': cannot listen there: Permission denied: ports below 1024 need root or the unit",
        2,
    ),
]


class World:
    """A server, one with TLS, a machine that has joined, one that is about to, and two that are not in the mesh."""

    def __init__(self, internet, server, agent):
        self.internet, self.server = internet, server
        agent("far", server.url, server.setup_key(name="far"), None, ("--relay-transport", "ws", "--force-relay"))
        self.agents = {name: AgentProgram(internet.host(name), internet.folder / name) for name in ("laptop", "new")}
        self.agents["desktop"] = AgentProgram(internet.host("desktop"), internet.folder / "desktop")
        for name in ("laptop", "new"):
            self.agents[name].start()
        host = server.host.address
        used = server.setup_key(name="used")
        key = next(each for each in server.api("GET", "/api/setup-keys")[1] if each["name"] == "used")
        assert server.api("PUT", f"/api/setup-keys/{key['id']}", {"revoked": True, "auto_groups": []})[0] == 200
        self.names = {
            "url": server.url.removesuffix(":80"),
            "host": host,
            "tls": self._with_tls(),
            "tls_host": internet.named("tls").address,
            "bad": BAD_KEY,
            "used": used,
            "used_hint": used[:5],
            "key": server.setup_key(),
            "pid": server.program.pid,
            "socket": self.agents["desktop"].socket,
        }

    def _with_tls(self):
        host = self.internet.host("tls")
        made = make_certificate(self.internet.folder, str(host.address))
        files = {name: self.internet.folder / f"{name}.pem" for name in ("chain", "key")}
        files["chain"].write_bytes(made.chain)
        files["key"].write_bytes(made.key)
        host.start(
            BIN / "meshloom-server",
            *("--listen", f"{host.address}:443", "--data-dir", self.internet.folder / "tls"),
            *("--tls-certificate", files["chain"], "--tls-key", files["key"], "--metrics", ""),
            log=self.internet.folder / "tls.log",
        )
        wait_until(lambda: f"{host.address}:443" in host.run("ss", "-Hltn"), 60, "it listens with TLS", every=0.1)
        return f"https://{host.address}"

    def cut(self):
        """Takes the policy away that lets machines reach each other."""
        (policy,) = self.server.api("GET", "/api/policies")[1]
        assert self.server.api("DELETE", f"/api/policies/{policy['id']}")[0] == 200
        wait_until(lambda: not self.agents["laptop"].peer("far"), 20, "the laptop no longer knows the other")

    def run(self, row):
        """Runs a row's command; returns what was said and the exit code."""
        words = row.argv.format(**self.names).split()
        prefix, bare = (), None
        if words[0] == "cut":
            self.cut()
            words = words[1:]
        if words[0] == "rightless":
            words, prefix = words[1:], WITHOUT_RIGHTS
        is_frozen = words[0] == "frozen"
        words = words[is_frozen:]
        if words[0].startswith("/"):
            more = ("--data-dir", self.internet.folder / "other", "--metrics", "")
            return self._done(self.server.host, *prefix, f"{BIN}{words[0]}", *words[1:], *more)
        agent = self.agents[row.at]
        if prefix:
            agent.socket.chmod(0)
            bare = agent.socket
        if is_frozen:
            agent.program.send_signal(signal.SIGSTOP)
        said = self._done(agent.host, *prefix, BIN / "meshloom", *words, "--daemon-addr", f"unix://{agent.socket}")
        if is_frozen:
            agent.program.send_signal(signal.SIGCONT)
        if bare:
            bare.chmod(0o600)
        if row.situation == "success":
            status = agent.status()
            self.names |= {"laptop": status["fqdn"], "address": status["netbirdIp"].partition("/")[0]}
        return said

    def _done(self, host, *argv):
        done = subprocess.run(
            host.command(*argv), capture_output=True, text=True, check=False, timeout=100, env=self.internet.environment
        )
        return done.stdout + done.stderr, done.returncode


def test_each_situation_has_its_words_and_its_exit_code(internet, server, agent):
    world, wrong = World(internet, server, agent), []
    for row in TABLE:
        said, code = world.run(row)
        expected = row.text.format(**world.names, space="{space}")
        parts = expected.split("{space}")
        is_said = any(
            all(part in line for part in parts) and (len(parts) == 1 or " GiB" in line or " TiB" in line)
            for line in said.splitlines()
        )
        if not is_said or row.code not in (code, None) or "Traceback" in said:
            wrong.append(f"{row.situation}: {expected!r}, {row.code}\n  but {code}: {said}")
    assert not wrong, "\n".join(wrong)
    log = server.log.read_text()
    assert "setup key 3BD5B**** is unknown" in log
    assert "is revoked" in log
