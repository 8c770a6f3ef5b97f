"""WireGuard's port is taken by something else: the agent goes on with another one, and says so."""

import pytest

from meshloom.testing.fakes.tunnel import MemoryDevice

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
