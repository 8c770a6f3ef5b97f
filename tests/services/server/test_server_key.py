"""The key that agents know a server by: never replaced by itself, once somebody may know it."""

import subprocess

import pytest

from meshloom.model.keys import PrivateKey
from meshloom.testing.deployment import OWNER

MISSING = "server.key is missing, though this server has accounts: agents know the server by it"


def command(server, *argv, given=""):
    """Runs a command of the server's program on its data folder."""
    binary = server.command()[0]
    argv = [binary, "--data-dir", server.data, *argv]
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(params=["meshloom-server", "meshloom-management"])
def lost(request, program):
    """A server with an account that was stopped, and lost its key."""
    server = program(name=request.param).start().set_up()
    server.stop()
    (server.data / "server.key").unlink()
    return server


def test_a_key_that_is_missing_while_there_are_accounts_is_not_replaced(lost):
    code, said = lost.refused()
    assert (code, "Traceback" in said) == (2, False), said
    assert f"error: {lost.data}/{MISSING}" in said
    assert "restore it from the backup" in said
    assert "`meshloom-server new-key`" in said
    assert not (lost.data / "server.key").exists()
    assert command(lost, "token", "create").returncode == 0, "commands go on"
    assert not (lost.data / "server.key").exists()


def test_one_that_is_lost_for_good_is_replaced_by_a_command(lost):
    done = command(lost, "new-key")
    assert done.returncode == 0, done.stderr
    key = (lost.data / "server.key").read_text()
    assert PrivateKey.parse(key).public.text in done.stdout
    assert "`meshloom up --accept-server-key`" in done.stdout
    assert key.strip() not in done.stdout + done.stderr
    assert lost.start().api("GET", "/api/users/current")[1]["email"] == OWNER["email"]
    assert (lost.data / "server.key").read_text() == key


def test_a_key_that_is_there_is_not_replaced(program):
    server = program().start().set_up()
    server.stop()
    for kept, why in (
        ((server.data / "server.key").read_text(), "server.key is there: agents know the server by it"),
        ("nonsense", "server.key holds no key: restore it from a backup"),
    ):
        (server.data / "server.key").write_text(kept)
        done = command(server, "new-key")
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
        assert (server.data / "server.key").read_text() == kept


def test_none_is_made_under_a_server_that_runs(program):
    server = program().start().set_up()
    (server.data / "server.key").unlink()
    done = command(server, "new-key")
    assert (done.returncode, f"process {server.process.pid} uses it" in done.stderr) == (1, True), done.stderr
    assert not (server.data / "server.key").exists()


def test_an_owner_who_is_made_before_the_first_start_hinders_none(program):
    server = program()
    server.data.mkdir(mode=0o700)
    done = command(server, "owner", "create", "you@example.net", given="a good long one")
    assert done.returncode == 0, done.stderr
    server.start()
    said = [line for line in server.said.splitlines() if "WARNING" in line]
    assert said == [], said


def test_a_server_without_accounts_makes_one(program):
    server = program().start()
    first = (server.data / "server.key").read_text()
    server.stop()
    (server.data / "server.key").unlink()
    server.start()
    assert (server.data / "server.key").read_text() != first
