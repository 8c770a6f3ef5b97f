"""What an administrator does at the server's own machine without a token, whether the server runs or not."""

import os
import re
import socket
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshloom.testing.deployment import OWNER
from meshloom_management.errors import PreconditionFailed
from meshloom_management.local.socket import NAME, ask

PASSWORD = "a good long one"


def command(server, *argv, given="", user=None):
    """Runs a command of the server's program on its data folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NB_", "MESHLOOM_"))}
    binary = server.command()[0]
    return subprocess.run(
        [binary, "--data-dir", server.data, *argv],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean,
        user=user,
    )


def made(server, *argv, **how):
    done = command(server, *argv, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def server(program):
    return program().start()


def test_a_server_is_owned_and_used_without_a_secret_or_a_request_by_http(server):
    assert "you@example.net owns this server" in made(server, "owner", "create", "you@example.net", given=PASSWORD)
    assert not (server.data / "setup.secret").exists()
    server.token = made(server, "token", "create")
    status, me = server.api("GET", "/api/users/current")
    assert (status, me["email"], me["role"]) == (200, "you@example.net", "owner")


def test_an_owner_without_a_token_is_not_locked_out_while_the_server_runs(server):
    server.set_up()
    server.token = ""
    done = command(server, "token", "create", "--expires", "90d", "--name", "mine")
    assert re.fullmatch(r"nbp_\w{36}\n", done.stdout), done.stderr
    assert "a token of owner@example.test, good until " in done.stderr
    server.token = done.stdout.strip()
    me = server.api("GET", "/api/users/current")[1]["id"]
    (mine,) = [each for each in server.api("GET", f"/api/users/{me}/tokens")[1] if each["name"] == "mine"]
    assert mine["expiration_date"] > mine["created_at"]
    assert server.token not in server.said


def test_nor_while_it_is_stopped_and_the_token_counts_after_the_start(server):
    server.set_up()
    server.stop()
    server.token = made(server, "token", "create", "--user", OWNER["email"])
    server.start()
    assert server.api("GET", "/api/users/current")[0] == 200


@pytest.mark.parametrize("is_running", [True, False])
def test_a_password_is_replaced(server, is_running):
    server.set_up()
    if not is_running:
        server.stop()
    assert "owner@example.test has a new password" in made(server, "owner", "reset-password", given=PASSWORD + "\n")
    refused = command(server, "owner", "reset-password", given="short\n")
    assert (refused.returncode, refused.stderr) == (1, "error: password must be at least 8 characters\n")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("token", "create"), 1, "no account exists yet: `meshloom-server owner create EMAIL` makes it"),
        (("owner", "reset-password"), 1, "no account exists yet"),
        (("owner", "create", "nonsense"), 1, "invalid email format"),
        (("token", "create", "--expires", "12h"), 2, "'12h' is not 1 to 365 whole days; write it like 30d"),
        (("token", "create", "--expires", "0d"), 2, "'0d' is not 1 to 365 whole days"),
        (("token", "create", "--expires", "366d"), 2, "'366d' is not 1 to 365 whole days"),
        (("token", "create", "--expires", "soon"), 2, "'soon' is not 1 to 365 whole days"),
    ],
)
@pytest.mark.parametrize("is_running", [True, False])
def test_what_cannot_be_is_said_and_changes_nothing(server, argv, code, said, is_running):
    if not is_running:
        server.stop()
    done = command(server, *argv, given=PASSWORD)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    if not is_running:
        server.start()
    assert server.api("GET", "/api/instance")[1] == {"setup_required": True}


def test_a_user_who_is_not_there_is_named_with_those_who_are(server):
    server.set_up()
    done = command(server, "token", "create", "--user", "nobody")
    assert done.stderr == "error: no user is called 'nobody'; the users are: owner@example.test\n"


def test_a_folder_of_no_server_is_said(server):
    server.data = server.data.with_name("elsewhere")
    done = command(server, "token", "create")
    assert (done.returncode, "no such folder: no server ran with it" in done.stderr) == (1, True)


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user")
def test_the_socket_is_for_root_and_the_server_s_user_alone(program):
    with tempfile.TemporaryDirectory() as folder:
        server = program()
        server.data = Path(folder) / "data"
        server.start().set_up()
        control = server.data / "control.sock"
        assert control.stat().st_mode & 0o777 == 0o600
        for path, mode in ((server.data.parent, 0o755), (server.data, 0o755), (control, 0o666)):
            path.chmod(mode)  # even then the server looks who asks
        asked = ["/usr/bin/python3", "-c", CALL, control]
        assert subprocess.run(asked, capture_output=True, text=True, check=True, user=65534).stdout == ""
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.startswith('{"answer"')
        server.stop()
        assert not control.exists()


CALL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as made:
    made.connect(sys.argv[1])
    try:
        made.sendall(b'{"do": "CreateToken", "user": "owner", "name": "", "days": 1}\\n')
        print(made.recv(4096).decode(), end="")
    except ConnectionError:
        pass
"""


def test_a_long_name_of_the_data_folder_is_no_hindrance(program):
    server = program()
    server.data = server.data / ("x" * 120)
    server.start().set_up()
    assert made(server, "token", "create").startswith("nbp_")


@pytest.mark.parametrize("is_running", [True, False])
def test_a_setup_key_is_made_without_a_token(server, is_running):
    server.set_up()
    if not is_running:
        server.stop()
    done = command(server, "setup-key", "create")
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\n", done.stdout), done.stderr
    assert "a key for 1 machine, good until " in done.stderr
    many = ("setup-key", "create", "--reusable", "--limit", "3", "--name", "office", "--expires", "12h", "--ephemeral")
    assert "a key for 3 machines" in command(server, *many).stderr
    assert (
        "a key for any number of machines, good for ever"
        in command(server, "setup-key", "create", "--reusable", "--expires", "never").stderr
    )
    if not is_running:
        server.start()
    one, office, ever = server.api("GET", "/api/setup-keys")[1]
    assert (one["type"], one["usage_limit"], one["name"]) == ("one-off", 1, "made at the server")
    assert (office["type"], office["usage_limit"], office["name"], office["ephemeral"]) == (
        "reusable",
        3,
        "office",
        True,
    )
    assert (ever["usage_limit"], ever["expires"][:4]) == (0, "0001")
    assert one["key"] == f"{done.stdout[:5]}****"
    assert done.stdout.strip() not in server.said


@pytest.mark.anyio
async def test_a_machine_joins_with_such_a_key_and_its_group(server, machine):
    server.set_up()
    assert server.api("POST", "/api/groups", {"name": "office"})[0] == 200
    key = made(server, "setup-key", "create", "--group", "office")
    answer = await machine(server.url).login(key)
    assert answer.peerConfig.address
    (group,) = [each for each in server.api("GET", "/api/groups")[1] if each["name"] == "office"]
    assert group["peers_count"] == 1


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("--group", "nobody"), 1, "error: no group is called 'nobody'; the groups are: All\n"),
        (("--group", "All"), 1, "can't add 'All' group to the setup key"),
        (("--limit", "2"), 1, "usage_limit 2 is not valid for a one-off setup key"),
        (("--limit", "-1"), 2, "-1 is not in the range"),
        (("--expires", "soon"), 2, "'soon' is not a time from now on; write it like 7d or 12h, or never"),
        (("--expires", "0d"), 2, "'0d' is not a time from now on"),
        (("--user", "nobody"), 1, "no user is called 'nobody'"),
    ],
)
def test_what_cannot_be_of_a_setup_key_is_said(server, argv, code, said):
    server.set_up()
    done = command(server, "setup-key", "create", *argv)
    assert (done.returncode, done.stdout, said in done.stderr) == (code, "", True), done.stderr
    assert server.api("GET", "/api/setup-keys")[1] == []


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_server_that_does_not_answer_is_said_to_be_there(tmp_path, waiting):
    with socket.socket(socket.AF_UNIX) as stopped, ExitStack() as others:
        stopped.bind(str(tmp_path / NAME))
        stopped.listen(0)
        for _ in range(waiting):  # so that no further one is taken
            others.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / NAME))
        with pytest.raises(PreconditionFailed, match="the server does not answer: is it stopped"):
            ask(tmp_path, b"{}\n", within=-0.5)
