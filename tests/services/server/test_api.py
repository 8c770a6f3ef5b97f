"""The HTTP API of a running server: the first set-up, and clients that stop in the middle of a request."""

import json
import re
import signal
import socket
from pathlib import Path

import pytest

from meshloom.testing.deployment import OWNER
from meshloom.testing.namespaces import wait_until
from meshloom_agent.management_errors import LoginDenied
from meshloom_management.api.failures import BURST

pytestmark = pytest.mark.anyio
SECRET = "X-Meshloom-Setup-Secret"


@pytest.fixture
def server(program):
    return program().start()


def half(server, path, *, secret="", token=""):
    """A connection that has sent half of a request's body."""
    made = socket.create_connection(("127.0.0.1", server.port))
    fields = f"Host: x\r\nContent-Length: 20\r\nContent-Type: application/json\r\n{SECRET}: {secret}\r\n"
    fields += f"Authorization: Token {token}\r\n" if token else ""
    made.sendall(f'POST {path} HTTP/1.1\r\n{fields}\r\n{{"name":'.encode())
    return made


def answer_of(connection):
    """Status and body of what comes."""
    with connection, connection.makefile("rb") as came:
        status = int(came.readline().split()[1])
        length = 0
        while line := came.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(came.read(length))


def secret_of(server):
    return (server.data / "setup.secret").read_text().strip()


def test_the_secret_is_printed_and_kept_until_there_is_an_owner(server):
    secret = secret_of(server)
    assert f"{SECRET}: {secret}" in server.said
    status, refused = server.api("POST", "/api/setup", OWNER)
    assert (status, "setup.secret in its data folder" in refused["message"]) == (401, True)
    assert server.api("GET", "/api/instance") == (200, {"setup_required": True})
    server.set_up()
    assert not (server.data / "setup.secret").exists()
    assert server.api("GET", "/api/instance") == (200, {"setup_required": False})


def test_a_secret_that_a_kill_left_behind_goes_at_the_next_start(server):
    secret = secret_of(server)
    server.set_up()
    server.stop(signal.SIGKILL)
    (server.data / "setup.secret").write_text(secret)
    server.start()
    assert not (server.data / "setup.secret").exists()
    assert server.api("POST", "/api/setup", OWNER, **{SECRET: secret})[0] == 412


@pytest.mark.parametrize("variable", ["NB_SETUP_PAT_ENABLED", "MESHLOOM_SETUP_PAT_ENABLED"])
def test_by_netbird_s_variable_the_set_up_is_open_as_netbird_s_is(program, variable):
    server = program(environment={variable: "true"}).start()
    assert not (server.data / "setup.secret").exists()
    status, made = server.api("POST", "/api/setup", OWNER)
    assert (status, set(made)) == (200, {"user_id", "email", "personal_access_token"})


async def test_the_log_tells_who_joined_who_was_refused_and_who_changed_what(server, machine):
    key = server.set_up().setup_key()
    one = machine(server.url)
    await one.login(key, name="laptop")
    with pytest.raises(LoginDenied):
        await machine(server.url).login("3bd5b111-2222-3333-4444-555555555555")
    assert server.api("POST", "/api/groups", {"name": "g", "peers": ["nobody"]})[0] == 200
    for line in (
        rf"INFO .* machine 'laptop' \(100\.[\d.]+\) joined with setup key 'k' \({key[:5]}\*{{4}}\)",
        r"INFO .* a machine at 127\.0\.0\.1 is refused: setup key 3BD5B\*{4} is unknown",
        r"INFO .* group 'g' was made by owner@example\.test",
        r"WARNING .* group 'g', written by owner@example\.test: peers that do not exist are left out: 'nobody'",
    ):
        assert re.search(line, server.said), server.said
    assert key not in server.said
    assert server.token not in server.said
    counts = server.get(f"http://127.0.0.1:{server.metrics}/metrics")[1].decode()
    assert "meshloom_management_peers 1.0" in counts
    assert "meshloom_management_joined_total 1.0" in counts


def test_a_token_that_is_deleted_while_a_body_drips_in_writes_nothing(server):
    server.set_up()
    me = server.api("GET", "/api/users/current")[1]["id"]
    made = server.api("POST", f"/api/users/{me}/tokens", {"name": "second", "expires_in": 1})[1]
    connection = half(server, "/api/groups", token=made["plain_token"])
    used = f"/api/users/{me}/tokens/{made['personal_access_token']['id']}"
    wait_until(lambda: "last_used" in server.api("GET", used)[1], 10, "the token is looked at")
    assert server.api("DELETE", used)[0] == 200
    connection.sendall(b'"late"}     ')
    assert answer_of(connection) == (401, {"message": "token invalid", "code": 401})
    assert [group["name"] for group in server.api("GET", "/api/groups")[1]] == ["All"]


@pytest.mark.parametrize("path", ["/api/groups", "/api/setup"])
def test_a_body_that_is_broken_off_leaves_no_trace_in_the_log(program, path):
    server = program(environment={"MESHLOOM_SETUP_PAT_ENABLED": "true"} if path == "/api/setup" else {}).start()
    token = "" if path == "/api/setup" else server.set_up().token
    for _ in range(20):
        half(server, path, token=token).close()
    wait_until(lambda: open_connections(server) <= 1, 10, "all of them are gone")
    assert server.api("GET", "/api/instance")[0] == 200
    assert not re.search(r"Traceback|ERROR", server.said), server.said


def open_connections(server):
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ours = f"0100007F:{server.port:04X}"
    return sum(line.split()[1] == ours and line.split()[3] in ("01", "08") for line in lines)


def test_without_credentials_the_answer_comes_before_the_body(server):
    for path in ("/api/groups", "/api/setup"):
        status, _ = answer_of(half(server, path))
        assert status == 401


@pytest.mark.parametrize(
    ("listen", "flags", "believed"),
    [
        ("127.0.0.1", (), True),
        ("", (), False),
        ("", ("--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"), True),
        ("127.0.0.1", ("--trusted-proxies", "10.0.0.0/8"), False),
    ],
)
def test_failures_count_for_the_address_that_a_believed_proxy_names(program, listen, flags, believed):
    server = program(flags=flags)
    server.flags = (*flags, "--listen", f"{listen}:{server.port}")
    server.start()

    def tried(address):
        wrong = {"Authorization": "Token wrong", "X-Forwarded-For": address}
        return server.get(f"{server.url}/api/groups", **wrong)[0]

    assert [tried("198.51.100.1") for _ in range(BURST + 1)][-1] == 429
    assert tried("192.0.2.7") == (401 if believed else 429)
    assert tried("192.0.2.8, 198.51.100.1") == 429
