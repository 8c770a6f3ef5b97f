"""The status after a login, and before any."""

import pytest

from meshloom_agent.daemon import Daemon
from meshloom_agent.files import StateDir

pytestmark = pytest.mark.anyio

KEY = "11111111-2222-3333-4444-555555555555"


async def test_where_no_server_is_known_the_daemon_is_not_ready(daemon, meshloom):
    done = await meshloom("status", "--check", "ready")
    assert done.code == 1
    assert "NeedsLogin" in done.err
    assert (await meshloom("status", "--check", "live")).code == 0


@pytest.mark.parametrize("before", ["never joined", "refused", "logged out"])
async def test_after_a_good_login_the_machine_is_known(daemon, meshloom, management, before):
    login = ("login", "-m", management.url, "-k", KEY)
    if before == "refused":
        assert (await meshloom("login", "-m", management.url)).code == 4
    elif before == "logged out":
        assert (await meshloom(*login)).code == 0
        assert (await meshloom("logout")).code == 0
    assert (await meshloom("status")).code == 4
    assert (await meshloom(*login)).code == 0
    done = await meshloom("status")
    assert (done.code, "not known" in done.out) == (0, False), done.out
    assert (await meshloom("status", "--check", "ready")).code == 0


async def test_after_a_restart_a_machine_that_logged_in_is_ready(daemon, meshloom, management, tunnels):
    assert (await meshloom("login", "-m", management.url, "-k", KEY)).code == 0
    assert Daemon(StateDir(daemon.files.path), tunnels.chosen).report.state == "Idle"
