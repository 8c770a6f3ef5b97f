"""What did not answer is told by its name and its reason, never as a deadline of gRPC's."""

import signal as signals
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import anyio
import grpc
import pytest
from click.testing import CliRunner

from meshloom.model.keys import PrivateKey
from meshloom_agent import management_client, unreached
from meshloom_agent.channel import ServerAddress, parse_url
from meshloom_agent.cli import diagnose
from meshloom_agent.cli import main as cli
from meshloom_agent.facts import system_meta
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.management_errors import ManagementUnreachable
from meshloom_agent.unreached import why_unreached

pytestmark = pytest.mark.anyio

BIN = Path(sys.executable).parent / "meshloom"
KEY = PrivateKey.of(b"k" * 32)


class Failed(grpc.RpcError):
    """A call that failed so."""

    def __init__(self, code):
        super().__init__()
        self._code = code

    def code(self):
        return self._code


@pytest.fixture
def resolver(monkeypatch):
    """What this host's resolver does with each name: an error, or no answer until the test ends."""
    monkeypatch.setattr(unreached, "LOOK_UP_WITHIN", 0.1)
    monkeypatch.setattr(unreached, "getproxies_environment", dict)
    ended = threading.Event()

    def choose(error):
        def look_up(*_arguments, **_options):
            if error is None:
                ended.wait(30)
                return []
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

        return ended

    return choose


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE])
async def test_a_name_without_an_address_is_named(resolver, code):
    resolver(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    why = await why_unreached(ServerAddress("mesh.test:443", tls=True), Failed(code))
    assert why == "mesh.test has no address (name or service not known); is the name right, does DNS work here?"


async def test_name_servers_that_do_not_answer_are_named(resolver):
    ended = resolver(None)
    why = await why_unreached(ServerAddress("mesh.test:443", tls=True), Failed(grpc.StatusCode.DEADLINE_EXCEEDED))
    ended.set()
    assert why == "mesh.test cannot be looked up: the name servers of this host do not answer"


async def test_what_management_says_itself_is_not_explained(resolver):
    resolver(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert await why_unreached(ServerAddress("a:1", tls=True), Failed(grpc.StatusCode.PERMISSION_DENIED)) == ""


async def test_a_login_says_that_the_name_has_no_address():
    client = ManagementClient(parse_url("https://no-such-name.invalid"), KEY)
    try:
        with pytest.raises(ManagementUnreachable, match=r"no-such-name\.invalid has no address") as caught:
            await client.login(await system_meta("box", ipv6=True), b"")
    finally:
        await client.close()
    assert "Deadline" not in str(caught.value)


async def test_a_management_that_hangs_is_told_without_the_words_of_grpc(management, monkeypatch):
    async def hang(_request, _context):
        await anyio.sleep_forever()

    monkeypatch.setattr(management_client, "ANSWER_WITHIN", 0.3)
    await management.stop()
    management.Login = hang
    await management.start()
    client = ManagementClient(parse_url(management.url), KEY)
    try:
        with pytest.raises(ManagementUnreachable, match="no answer in time; is the address right"):
            await client.login(await system_meta("box", ipv6=True), b"")
    finally:
        await client.close()


SILENT = """
import socket, sys, threading
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print(flush=True)
kept = []
while True:
    made, _ = listening.accept()
    kept.append(made)
    made.sendall(bytes(3) + b"\\4" + bytes(5))
"""
"""A daemon whose event loop stands still: gRPC takes connections, and no call has an answer."""


@pytest.fixture(params=["stopped", "standing still"])
def frozen(request, tmp_path):
    """The socket of a process that takes connections, as the kernel does for a stopped one, and answers nothing."""
    path = tmp_path / "frozen.sock"
    with subprocess.Popen([sys.executable, "-c", SILENT, path], stdout=subprocess.PIPE) as daemon:
        daemon.stdout.readline()
        if request.param == "stopped":
            daemon.send_signal(signals.SIGSTOP)
        try:
            yield f"unix://{path}"
        finally:
            daemon.kill()


COMMANDS = ("status --json", "up -m http://127.0.0.1:1", "login", "down", "logout", "ping peer", "debug log level info")


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["stopped"], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_stopped_daemon_is_named_soon_by_every_command(frozen, command):
    with anyio.fail_after(50):  # and not by each command's own limit, of two minutes for a login
        done = await anyio.run_process([BIN, *command.split(), "--daemon-addr", frozen], check=False)
    assert done.returncode == 5
    assert b"the daemon does not answer: is it stopped" in done.stderr
    assert b"Deadline" not in done.stderr


@pytest.mark.slow
def test_beside_a_frozen_daemon_a_bundle_has_what_can_be_seen_without_it(frozen, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnose, "BUNDLE_WITHIN", 1.0)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    file = tmp_path / "bundle.tar.gz"
    where = ("--state-dir", str(tmp_path / "state"), "--daemon-addr", frozen)
    done = CliRunner().invoke(cli, ["debug", "bundle", str(file), "--no-ask-gateway", *where])
    assert (done.exit_code, done.stdout) == (6, f"{file}\n"), done.output
    assert "warning: the daemon does not answer: is it stopped" in done.stderr
    with tarfile.open(file) as archive:
        doctor = archive.extractfile("meshloom-debug/doctor.txt").read().decode()
    assert "the daemon does not answer" in doctor
