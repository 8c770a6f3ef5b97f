"""A peer is connected where a path works and WireGuard shook hands over it; else it is not, and why is said."""

import pytest

from meshloom_agent.files import StateDir
from meshloom_agent.handshakes import SOON, with_handshake
from meshloom_agent.mesh.status import PathStatus

pytestmark = pytest.mark.anyio

PATH = PathStatus("Connected", 100.0, "", "host", ("192.0.2.1", 1), "host", ("192.0.2.2", 2))


@pytest.mark.parametrize(
    ("latest", "now", "state", "reason"),
    [
        (100.1, 101.0, "Connected", ""),
        (50.0, 101.0, "Connected", ""),
        (None, 101.0, "Connecting", "waiting for WireGuard's handshake"),
        (None, 101.0 + SOON, "Connecting", "both need the same --preshared-key, or none"),
        (100.0, 100.0 + 211, "Connecting", "WireGuard has not shaken hands over it for 4 min"),
    ],
)
def test_the_state_comes_from_wireguard_as_well_as_from_the_path(latest, now, state, reason):
    told = with_handshake(PATH, latest, now)
    assert told.state == state
    assert reason in told.reason


@pytest.mark.parametrize("state", ["Idle", "Connecting"])
def test_what_is_not_connected_is_told_as_it_is(state):
    path = PathStatus(state, 0.0, "there is no traffic")
    assert with_handshake(path, None, 1.0) is path


async def test_different_preshared_keys_are_never_connected_and_said(agents, tmp_path, until):
    StateDir(tmp_path / "agent1").keep_preshared_key("cHJlc2hhcmVkIGtleSBvZiB0aGlzIHRlc3QgYWxvbmU=")
    one, two = agents(0), agents(1)
    await until(lambda: one.connected and two.connected)

    async def state():
        (peer,) = await one.engine.peers()
        return peer.path

    assert (await state()).state == "Connecting"
    assert "handshake" in (await state()).reason
