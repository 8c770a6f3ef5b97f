"""A machine that the server has removed says so, also after its daemon was started again."""

import json

import pytest

from meshloom_agent import daemon as daemon_module
from meshloom_agent.daemon import Daemon
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.files import StateDir

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("joined")
async def test_a_removed_machine_whose_daemon_was_started_again_says_that_it_is_not_known(
    daemon, management, tunnels, run, until
):
    await daemon.pause()
    management.peers.clear()
    again, socket = Daemon(StateDir(daemon.files.path), tunnels.chosen), daemon.files.path / "again.sock"
    async with again.running(), open_socket(again, socket):
        await until(lambda: again.report.state == "NeedsLogin")
        done = await run("status", "--daemon-addr", f"unix://{socket}")
        assert (await run("status", "--check", "ready", "--daemon-addr", f"unix://{socket}")).code == 1
    assert done.code == 4
    assert "management does not know this machine: no peer auth method provided" in done.out


@pytest.mark.usefixtures("joined")
async def test_a_removed_machine_that_is_down_says_that_it_is_not_known(daemon, management, tunnels, run, meshloom):
    await meshloom("down")
    management.peers.clear()
    again, socket = Daemon(StateDir(daemon.files.path), tunnels.chosen), daemon.files.path / "again.sock"
    async with again.running(), open_socket(again, socket):
        done = await run("status", "--daemon-addr", f"unix://{socket}")
        found = json.loads((await run("status", "-j", "--daemon-addr", f"unix://{socket}")).out)
    assert (done.code, found["daemonStatus"]) == (4, "NeedsLogin")
    assert "management does not know this machine: no peer auth method provided" in done.out


@pytest.mark.usefixtures("joined")
async def test_a_machine_that_is_down_and_known_is_idle_and_management_is_not_asked_at_each_status(
    daemon, management, meshloom
):
    await meshloom("down")
    before = len(management.logins)
    for _ in range(3):
        done = await meshloom("status")
        assert done.code == 0, done.out
    assert daemon.report.state == "Idle"
    assert len(management.logins) == before + 1


@pytest.mark.usefixtures("joined")
async def test_a_machine_that_is_down_has_a_status_although_management_is_away(management, meshloom, monkeypatch):
    monkeypatch.setattr(daemon_module, "ASK_WITHIN", 0.2)
    await meshloom("down")
    await management.stop()
    done = await meshloom("status")
    assert (done.code, "Management: Disconnected" in done.out) == (0, True)
