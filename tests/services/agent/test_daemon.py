"""The daemon: up, down, and back by itself."""

import errno
import logging
import os
from contextlib import asynccontextmanager

import attrs
import grpc
import pytest

from meshloom_agent.daemon import Daemon
from meshloom_agent.files import AgentSettings, StateDir, StateError
from meshloom_agent.management_errors import LoginDenied, ManagementRefuses, ManagementUnreachable
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def start(tmp_path, tunnels):
    """Starts a daemon on the folder; leaving it is a graceful stop."""

    @asynccontextmanager
    async def start():
        made = Daemon(StateDir(tmp_path / "state"), tunnels.chosen)
        async with made.running():
            yield made

    return start


@pytest.fixture
async def daemon(start, settings):
    """One that is up."""
    async with start() as made:
        await made.login(settings(0), SETUP_KEY)
        await made.up()
        await made.settled()
        assert made.report.state == CONNECTED
        yield made


async def test_it_joins_goes_up_and_down(daemon, tunnels, management):
    assert [login.setupKey for login in management.logins] == ["", SETUP_KEY]
    assert "test0" in tunnels.opened
    await daemon.down()
    assert tunnels.opened == {}
    assert daemon.report.state == "Idle"
    await daemon.up()
    await daemon.settled()
    assert daemon.report.state == CONNECTED


async def test_it_comes_back_after_a_restart_if_it_was_up(start, settings, until, tunnels):
    async with start() as first:
        await first.login(settings(0), SETUP_KEY)
        await first.up()
        await first.settled()
    assert tunnels.opened == {}, "a graceful stop leaves nothing"
    async with start() as second:
        await until(lambda: second.report.state == CONNECTED)
        await second.down()
    async with start() as third:
        assert not third.is_up


async def test_without_a_key_an_unknown_machine_needs_a_login(start, settings):
    async with start() as daemon:
        with pytest.raises(LoginDenied):
            await daemon.login(settings(0), "")
        assert daemon.report.state == "NeedsLogin"
        with pytest.raises(LoginDenied):
            await daemon.login(settings(0), "99999999-2222-3333-4444-555555555555")
        assert daemon.settings == AgentSettings(), "settings of a login that failed are not taken over"


async def test_the_setup_key_is_neither_kept_nor_logged(start, settings, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with start() as daemon:
        with pytest.raises(LoginDenied) as denied:
            await daemon.login(settings(0), SETUP_KEY.replace("1", "9"))
        assert "9999" not in str(denied.value)
        await daemon.login(settings(0), SETUP_KEY)
        await daemon.up()
        await daemon.settled()
        private = daemon.files.key().reveal()
    for secret in (SETUP_KEY, SETUP_KEY.replace("1", "9"), private):
        assert secret not in caplog.text
    for file in (tmp_path / "state").iterdir():
        assert SETUP_KEY.encode() not in file.read_bytes()
        assert private.encode() not in file.read_bytes() or file.name == "private.key"


async def test_a_machine_that_was_deleted_says_so_and_joins_again_with_a_key(daemon, management, until, tunnels):
    await until(lambda: daemon.files.last_map() is not None)
    key = daemon.files.key().public.text
    del management.peers[key]
    management.tell(key, None)
    await until(lambda: daemon.report.state == "NeedsLogin")
    assert "no peer auth method" in daemon.failure
    await daemon.login(daemon.settings, SETUP_KEY)
    await until(lambda: daemon.report.state == CONNECTED)
    assert daemon.failure == ""
    assert tunnels.count["test0"] == 1


async def test_a_fault_of_management_is_no_reason_to_forget_anything(daemon, management, until):
    key = daemon.files.key().public.text
    management.refusal = grpc.StatusCode.NOT_FOUND, "peer not found"
    management.tell(key, None)
    await until(lambda: daemon.report.state != CONNECTED)
    management.refusal = None
    await until(lambda: daemon.report.state == CONNECTED)
    assert daemon.settings.up


async def test_a_lost_device_is_made_again(daemon, tunnels, until):
    tunnels.lose("test0")
    await until(lambda: tunnels.count["test0"] == 2 and daemon.report.state == CONNECTED)
    assert daemon.failure == ""


async def test_a_fault_in_the_agent_is_logged_and_survived(daemon, tunnels, until, monkeypatch, caplog):
    async def fault(_self):
        raise ZeroDivisionError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr("meshloom_agent.engine.Engine._begin", lambda self, _first: fault(self))
        tunnels.lose("test0")
        await until(lambda: "a fault of ours" in daemon.failure)
    await until(lambda: daemon.report.state == CONNECTED)
    assert "ZeroDivisionError" in caplog.text


async def test_other_settings_are_taken_over_at_once(daemon, settings, tunnels, until):
    await daemon.login(attrs.evolve(settings(3), port=4000), "")
    await until(lambda: daemon.report.state == CONNECTED)
    assert list(tunnels.opened) == ["test3"]
    assert daemon.report.listen_port == 4000


async def test_going_up_while_management_is_away_uses_the_last_map(daemon, management, until):
    await until(lambda: daemon.files.last_map() is not None)
    await daemon.down()
    await management.stop()
    await daemon.login(daemon.settings, "")
    await daemon.up()
    await until(lambda: daemon.report.signal.connected)
    with pytest.raises(ManagementUnreachable):
        await daemon.login(attrs.evolve(daemon.settings, port=4000), "")


async def test_a_refusal_is_not_taken_for_an_absence(daemon, management, until):
    await until(lambda: daemon.files.last_map() is not None)
    management.refusal = grpc.StatusCode.FAILED_PRECONDITION, "not now"
    with pytest.raises(ManagementRefuses, match="not now"):
        await daemon.login(daemon.settings, "")


async def test_a_full_disk_keeps_nobody_from_going_down_or_up(daemon, monkeypatch, tunnels, caplog):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    await daemon.down()
    assert tunnels.opened == {}
    await daemon.up()
    await daemon.settled()
    assert daemon.report.state == CONNECTED
    assert "not remembered" in caplog.text
    before = daemon.settings
    await daemon.login(before, "")
    with pytest.raises(StateError, match="No space left"):
        await daemon.login(attrs.evolve(before, mtu=1400), "")
    assert (daemon.settings, daemon.report.state) == (before, CONNECTED), "what cannot be kept is not half taken over"


async def test_leaving_the_account_forgets_it_there_and_here(daemon, management, until):
    await until(lambda: daemon.files.last_map() is not None)
    await daemon.log_out()
    assert management.peers == {}
    assert daemon.files.last_map() is None
    assert daemon.report.state == "NeedsLogin"
    assert not daemon.settings.up


async def test_the_preshared_key_reaches_every_peer(daemon, agents, tunnels, until):
    await daemon.login(daemon.settings, "", "A" * 43 + "=")
    other = agents(1)
    await until(lambda: "test0" in tunnels.opened and other.key in tunnels.opened["test0"].state.peers)
    assert tunnels.opened["test0"].state.peers[other.key].preshared_key.raw == bytes(32)
