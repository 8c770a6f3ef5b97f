"""A machine that the server has removed says so, also after its daemon was started again."""

import pytest

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
