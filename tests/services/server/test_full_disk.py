"""A server whose disk is full: it serves what there is, says so, and writes again as soon as there is room."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshloom_agent.management_errors import ManagementUnreachable

pytestmark = pytest.mark.anyio

BIN = Path(sys.executable).parent
FULL = "the server cannot store anything now: {}/meshloom.db: the disk is full: make room on it"


@pytest.mark.privileged
async def test_a_full_disk_stops_writes_alone_and_only_while_it_is_full(program, machine):
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small disk in a namespace of its own")
    script = 'mkdir -p "$0"; mount -t tmpfs -o size=2m,mode=700 tmpfs "$0"; shift 0; exec "$@"'
    server = program()
    server.prefix = ("unshare", "--mount", "sh", "-ec", script, str(server.data))
    server.start().set_up()
    key = server.setup_key()
    one, other = machine(server.url), machine(server.url)
    await one.login(key)
    filler = Path(f"/proc/{server.process.pid}/root{server.data}/filler")
    fill(filler)
    stored = 0
    while (answer := server.api("POST", "/api/groups", {"name": f"group{stored}"}))[0] == 200:
        stored += 1
        assert stored < 2000, "SQLite has kept room for some, but not for so many"
    assert answer == (
        503,
        {
            "message": FULL.format(server.data),
            "code": 503,
        },
    )
    assert len(server.api("GET", "/api/groups")[1]) == stored + 1, "reads go on, and tell what is stored"
    with pytest.raises(ManagementUnreachable, match="the disk is full"):
        await other.login(key)
    async for update in one.sync():
        assert update.NetworkMap.peerConfig.address
        break
    filler.unlink()
    assert server.api("POST", "/api/groups", {"name": "after"})[0] == 200
    assert (await other.login(key)).peerConfig.address
    assert server.stop() == 0
    assert "Traceback" not in server.said


@pytest.mark.privileged
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_server_starts_on_a_full_disk_and_serves_what_there_is(program, machine, tmp_path, how):
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small disk")
    server = program()
    server.data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", server.data], check=True)
    try:
        server.start().set_up()
        key = server.setup_key()
        one = machine(server.url)
        await one.login(key)
        server.stop(how)
        fill(server.data / "filler")
        server.start()
        assert [group["name"] for group in server.api("GET", "/api/groups")[1]] == ["All"]
        async for update in one.sync():
            assert update.NetworkMap.peerConfig.address
            break
        status, refused = server.api("POST", "/api/groups", {"name": "g"})
        while status == 200:  # SQLite has kept room for some
            status, refused = server.api("POST", "/api/groups", {"name": os.urandom(8).hex()})
        assert (status, refused["message"]) == (503, FULL.format(server.data))
        assert re.search("(ERROR|WARNING) .*meshloom.db: the disk is full: make room on it", server.said)
        (server.data / "filler").unlink()
        assert [server.api("POST", "/api/groups", {"name": name})[0] for name in ("after", "later")] == [200, 200]
        backup = subprocess.run(
            [BIN / "meshloom-server", "--data-dir", server.data, "backup", tmp_path / "copy.db"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert backup.returncode == 0, backup.stderr
        fill(server.data / "filler")
        full = subprocess.run(
            [BIN / "meshloom-server", "--data-dir", server.data, "backup", server.data / "copy.db"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (full.returncode, "make room on the disk of" in full.stderr) == (1, True), full.stderr
        assert f"the backup {server.data}/copy.db cannot be made" in full.stderr
        (server.data / "filler").unlink()
        assert server.stop() == 0
        assert not re.search(r"Traceback|Errno", server.said), server.said
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
        subprocess.run(["umount", "--lazy", server.data], check=True)


def fill(file):
    """Take all that is left of its disk."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
