"""WireGuard's port is taken by something else: the agent goes on with another one, and says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from meshloom.testing.fakes.tunnel import MemoryDevice
from meshloom.testing.ports import free_port

pytestmark = pytest.mark.anyio

KEY = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_taken_port_is_a_warning(daemon, meshloom, management, air, is_taken):
    if is_taken:
        holder = air.devices["holder"] = MemoryDevice("holder", ("192.0.2.1",))
        holder.listen_port = 4000
    join = ("up", "-m", management.url, "-k", KEY, "--interface-name", "test0", "--wireguard-port", "4000")
    done = await meshloom(*join)
    used = air.tunnels["test0"].listen_port
    assert (done.code, used == 4000) == ((6, False) if is_taken else (0, True))
    said = f"--wireguard-port 4000: test0, UDP port 4000: the UDP port is taken; {used} is used instead"
    assert (f"warning: {said}" in done.err) is is_taken
    assert (f"Warning: {said}" in (await meshloom("status")).out) is is_taken


HOLDER = """
import socket, sys
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind(("127.0.0.1", int(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held():
    """A port that a program has, and the program."""
    port = free_port()
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(port)], stdin=pipe, stdout=pipe, text=True)
    process.stdout.readline()
    yield port, process
    process.communicate("")


async def test_who_has_the_port_is_named(daemon, meshloom, management, air, held):
    port, process = held
    holder = air.devices["holder"] = MemoryDevice("holder", ("192.0.2.1",))
    holder.listen_port = port
    join = ("up", "-m", management.url, "-k", KEY, "--interface-name", "test0", "--wireguard-port", str(port))
    done = await meshloom(*join)
    name = Path(f"/proc/{process.pid}/comm").read_text().strip()
    said = f"test0, UDP port {port}: the UDP port is taken: {name} (pid {process.pid}) has it; "
    assert done.code == 6
    assert said in done.err
    assert said in (await meshloom("status")).out
