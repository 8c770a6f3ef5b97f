"""Who has a port that somebody else wants."""

import errno
import socket
import subprocess
import sys

import pytest

from meshloom.port_holder import port_holder, why_not_bound

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
HOLDER = """
import socket, sys
kind, host = socket.SocketKind(int(sys.argv[1])), sys.argv[2]
made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
made.bind((host, 0))
if kind is socket.SOCK_STREAM:
    made.listen()
print(made.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Starts programs that have a port until the test ends; returns the port and the process."""
    started = []

    def start(kind, host):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(int(KINDS[kind])), host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return int(process.stdout.readline()), process

    yield start
    for process in started:
        process.communicate("")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("has", "wants"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", ""), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1")],
)
def test_the_program_and_its_number_are_told(holder, kind, has, wants):
    port, process = holder(kind, has)
    told = port_holder(wants, port, KINDS[kind])
    assert told.endswith(f"(pid {process.pid})")
    assert told.startswith("python")
    refused = OSError(errno.EADDRINUSE, "while binding")
    assert why_not_bound(refused, wants, port, KINDS[kind]) == f"Address already in use by {told}"


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_another_address_or_the_other_protocol_is_not_meant(holder, kind):
    port, _ = holder(kind, "127.0.0.1")
    assert port_holder("127.0.0.2", port, KINDS[kind]) == ""
    assert port_holder("::1", port, KINDS[kind]) == ""


def test_the_program_itself_is_told_as_such():
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        assert port_holder("127.0.0.1", port, socket.SOCK_STREAM) == "this program itself, for another key"


@pytest.mark.parametrize(
    ("error", "port", "told"),
    [
        (OSError(errno.EACCES, "x"), 80, "Permission denied: ports below 1024 need root or the unit"),
        (OSError(errno.EACCES, "x"), 8080, "Permission denied"),
        (OSError(errno.EADDRNOTAVAIL, "x"), 80, "Cannot assign requested address"),
        (socket.gaierror(-2, "Name or service not known"), 80, "Name or service not known"),
    ],
)
def test_other_reasons_are_told_in_the_system_s_words(error, port, told):
    assert why_not_bound(error, "192.0.2.1", port, socket.SOCK_STREAM) == told
