"""Links that a data folder's user planted, for root to write through: nothing is followed, and nothing is root's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives a folder to another user"),
]

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
BIN = Path(sys.executable).parent
PASSWORD = "a good long one"
FOLLOWED = "is a symbolic link, which is not followed"


@pytest.fixture
def ground():
    """A folder that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def precious(ground):
    """A file of root's that others may read."""
    file = ground / "precious"
    file.write_text("precious")
    file.chmod(0o644)
    return file


@pytest.fixture
def server(program, ground):
    """A server whose data folder is another user's."""
    server = program()
    server.data = ground / "data"
    server.data.mkdir(mode=0o700)
    os.chown(server.data, NOBODY, NOBODY)
    return server


def command(server, *argv, prefix=()):
    argv = [*prefix, BIN / server.name, "--data-dir", server.data, *argv]
    return subprocess.run(argv, input=PASSWORD, capture_output=True, text=True, check=False, timeout=120)


def plant(server, name, target):
    (server.data / name).symlink_to(target)
    os.lchown(server.data / name, NOBODY, NOBODY)


def owners(server):
    return {(file.lstat().st_uid, file.lstat().st_gid) for file in server.data.iterdir()}


@pytest.mark.parametrize("name", ["meshloom.db", "meshloom.db.lock", "nonces"])
@pytest.mark.parametrize("argv", [("owner", "create", "you@example.net"), ("new-key",), ("token", "create")])
def test_no_command_of_root_follows_a_link(server, precious, name, argv):
    plant(server, name, precious)
    mode = precious.stat().st_mode
    done = command(server, *argv)
    if name != "nonces" or argv == ("owner", "create", "you@example.net"):
        assert done.returncode == 1
        assert f"{server.data / name}:" in done.stderr, "the file is named"
        assert FOLLOWED in done.stderr
    assert "Traceback" not in done.stderr
    assert (precious.read_text(), precious.stat().st_mode) == ("precious", mode)
    assert owners(server) == {(NOBODY, NOBODY)}


@pytest.mark.parametrize("name", ["server.key", "server.new", "meshloom.db-wal", "meshloom.db-shm", "control.sock"])
def test_a_link_that_leads_nowhere_makes_nothing_there(server, ground, name):
    plant(server, name, ground / "made")
    command(server, "owner", "create", "you@example.net")
    assert not (ground / "made").exists()
    assert owners(server) == {(NOBODY, NOBODY)}


@pytest.mark.parametrize("name", ["meshloom.db", "meshloom.db.lock", "nonces", "nonces.new", "server.new"])
def test_nor_does_a_server_that_root_runs(server, precious, name):
    plant(server, name, precious)
    mode = precious.stat().st_mode
    if name.endswith(".new"):
        server.start().stop()
    else:
        code, said = server.refused()
        assert code in (1, 2)
        assert f"{server.data / name}:" in said
        assert FOLLOWED in said
        assert "Traceback" not in said
    assert (precious.read_text(), precious.stat().st_mode) == ("precious", mode)


def test_a_server_that_root_runs_shows_no_file_that_a_link_names(server, precious):
    plant(server, "setup.secret", precious)
    code, said = server.refused()
    assert (code, f"{server.data}/setup.secret: cannot be used: {FOLLOWED}" in said) == (2, True), said
    assert "precious" not in said


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(server):
    os.mkfifo(server.data / "meshloom.db.lock")
    os.chown(server.data / "meshloom.db.lock", NOBODY, NOBODY)
    done = command(server, "token", "create")
    assert (done.returncode, "meshloom.db.lock: is not a regular file" in done.stderr) == (1, True), done.stderr


def test_the_folders_user_goes_on_with_what_root_made(server):
    if command(server, "version", prefix=AS_NOBODY).returncode:
        pytest.skip("needs setpriv, and a program that other users can run")
    assert command(server, "owner", "create", "you@example.net").returncode == 0
    assert owners(server) == {(NOBODY, NOBODY)}
    server.prefix = AS_NOBODY
    server.start()
    server.token = command(server, "token", "create").stdout.strip()
    assert server.api("GET", "/api/users/current")[1]["email"] == "you@example.net"
    server.stop()
    server.token = command(server, "token", "create").stdout.strip()
    assert owners(server) == {(NOBODY, NOBODY)}
    assert command(server, "owner", "reset-password", prefix=AS_NOBODY).returncode == 0
    server.start()
    assert server.api("GET", "/api/users/current")[1]["email"] == "you@example.net"


def test_root_copies_the_state_to_a_folder_of_its_own_and_through_no_link(server, ground, precious):
    assert command(server, "owner", "create", "you@example.net").returncode == 0
    kept = ground / "kept"
    kept.mkdir(mode=0o700)
    (kept / "copy.part").symlink_to(precious)
    done = command(server, "backup", kept / "copy")
    assert done.returncode == 0, done.stderr
    assert (kept / "copy").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in kept.iterdir()] == ["copy"]
    assert precious.read_text() == "precious"
    assert owners(server) == {(NOBODY, NOBODY)}
