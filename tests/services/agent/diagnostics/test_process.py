"""The daemon as a process: its metrics, and its log in a bundle."""

import io
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import anyio
import pytest

from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

BIN = Path(sys.executable).parent / "meshloom"


@pytest.fixture
def daemon(tmp_path):
    """A daemon that is not connected, its metrics on a free port that its log names, logging little to a file."""
    socket, log = tmp_path / "agent.sock", tmp_path / "log"
    (tmp_path / "agent.toml").write_text('log_level = "warning"\n')
    where = ("--state-dir", tmp_path / "state", "--daemon-addr", f"unix://{socket}", "--log-file", log)
    what = ("--config", tmp_path / "agent.toml", "--metrics", "127.0.0.1:0")
    program = subprocess.Popen([BIN, "service", "run", *where, *what], stderr=subprocess.PIPE)
    try:
        wait_until(socket.exists, 30, "the daemon listens")
        yield program, f"unix://{socket}", log
    finally:
        program.terminate()
        _, errors = program.communicate(timeout=30)
    assert errors == b""


@pytest.fixture
def process(daemon):
    """Its address and its log."""
    return daemon[1:]


async def test_its_log_goes_on_in_a_new_file_after_a_rename_and_at_a_hangup(daemon, run):
    program, address, log = daemon
    assert (await run("debug", "log", "level", "info", "--daemon-addr", address)).code == 0
    for rotated in (log.with_name("log.1"), log.with_name("log.2")):
        log.rename(rotated)
        program.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and "log file opened again" in log.read_text(), 10, "the log is opened again")
        assert program.poll() is None
    assert (await run("status", "--check", "live", "--daemon-addr", address)).code == 0


async def test_its_debugging_is_in_a_bundle_though_the_log_has_less(process, run, tmp_path):
    address, log = process
    failed = await run("up", "-m", "http://127.0.0.1:1", "--daemon-addr", address)
    assert failed.code == 1
    file = tmp_path / "bundle.tar.gz"
    done = await run("debug", "bundle", str(file), "--no-ask-gateway", "--daemon-addr", address)
    assert done.code == 0, done.err
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes()), mode="r:gz") as archive:
        kept = archive.extractfile("meshloom-debug/daemon.log").read().decode()
    assert "metrics at http://127.0.0.1:" in kept
    assert "metrics at" not in log.read_text()


async def test_its_metrics_are_told_on_request(process, run, tmp_path):
    address, _ = process
    file = tmp_path / "bundle.tar.gz"
    await run("debug", "bundle", str(file), "--no-ask-gateway", "--daemon-addr", address)
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes()), mode="r:gz") as archive:
        kept = archive.extractfile("meshloom-debug/daemon.log").read().decode()
    port = int(kept.partition("metrics at http://127.0.0.1:")[2].partition("/")[0])
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        with anyio.move_on_after(10):
            while b"meshloom_agent_up 0.0" not in answer:
                answer += await stream.receive()
    assert b"meshloom_agent_up 0.0" in answer
