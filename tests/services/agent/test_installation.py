"""``service install`` and ``uninstall``: one unit for each agent, nobody's edits lost, all of it or nothing."""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from meshloom_agent.cli import installation
from meshloom_agent.cli.main import main
from meshloom_agent.cli.unit import Unit
from meshloom_agent.cli.units import agent_of

SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
for each in $FAILING; do [ "$each" != "$1" ] || exit ${STATUS:-1}; done
"""


class Machine:
    """Units, state and a systemctl of the test's own."""

    def __init__(self, folder):
        self.folder, self.units = folder, folder / "units"
        self.unit, self.state = self.units / "meshloom.service", folder / "state"
        self.own = ("--state-dir", str(self.state), "--daemon-addr", f"unix://{folder}/run/agent.sock")

    def call(self, *argv, **environment):
        return CliRunner().invoke(main, ["service", *argv], env=environment)

    def install(self, *argv, **environment):
        return self.call("install", *self.own, *argv, **environment)

    @property
    def asked(self):
        file = self.folder / "bin" / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def everything(self):
        return {path: path.read_bytes() if path.is_file() else None for path in self.folder.rglob("*")}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path)
    made.units.mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["/opt/meshloom/bin/meshloom"])
    monkeypatch.setattr(installation, "UNITS", made.units)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return made


def test_it_is_written_enabled_and_said(machine):
    done = machine.install()
    assert (done.exit_code, done.output) == (0, f"installed: {machine.unit}\n")
    assert machine.asked == ["daemon-reload", "enable meshloom.service"]
    assert machine.install().exit_code == 0, "again is no change"


def test_another_agents_unit_is_not_replaced_and_a_name_makes_room(machine):
    assert machine.install().exit_code == 0
    other = ("--state-dir", f"{machine.folder}/other", "--daemon-addr", f"unix://{machine.folder}/run/other.sock")
    before = machine.unit.read_text()
    refused = machine.call("install", *other)
    assert refused.exit_code == 2
    assert f"runs another agent, that of {machine.state}" in refused.output
    assert "--name" in refused.output
    assert machine.unit.read_text() == before
    assert not (machine.folder / "other").exists()
    assert machine.call("install", *other, "--name", "second").exit_code == 0
    assert machine.asked[-1] == "enable second.service"
    assert "/other" in (machine.units / "second.service").read_text()


@pytest.mark.parametrize("shared", [0, 1])
def test_one_folder_and_one_socket_have_one_unit(machine, shared):
    assert machine.install().exit_code == 0
    state, address = (("/elsewhere", machine.own[3]), (machine.own[1], "unix:///elsewhere/s"))[shared]
    refused = machine.call("install", "--state-dir", state, "--daemon-addr", address, "--name", "second", "--force")
    assert (refused.exit_code, "meshloom.service runs" in refused.output) == (2, True)
    assert not (machine.units / "second.service").exists()


def test_an_administrators_edits_are_kept_unless_forced_and_then_beside(machine):
    assert machine.install().exit_code == 0
    edited = machine.unit.read_text().replace("RestartSec=2", "RestartSec=9")
    machine.unit.write_text(edited)
    refused = machine.install()
    assert (refused.exit_code, "was changed since it was installed" in refused.output) == (2, True)
    assert machine.unit.read_text() == edited
    forced = machine.install("--force")
    assert forced.exit_code == 0
    assert "RestartSec=2\n" in machine.unit.read_text()
    assert (machine.units / "meshloom.service.before").read_text() == edited
    assert "meshloom.service.before" in forced.output


def test_options_that_change_are_written_where_nobody_edited(machine):
    assert machine.install().exit_code == 0
    assert machine.install("--log-level", "debug").exit_code == 0
    assert machine.install().exit_code == 0
    assert "--log-level" not in machine.unit.read_text()


def test_what_is_not_an_agents_unit_is_left(machine):
    machine.unit.write_text("[Service]\nExecStart=/bin/other\n")
    assert "is not the unit of an agent" in machine.install().output
    assert "is not the unit of an agent" in machine.call("uninstall").output
    assert machine.unit.exists()


def test_configuration_metrics_and_level_are_given_to_the_daemon(machine):
    config = machine.folder / "a b 100%.toml"
    config.write_text('log_level = "info"\n')
    done = machine.install("--config", str(config), "--metrics", "127.0.0.1:9091", "--log-level", "debug")
    assert done.exit_code == 0, done.output
    line = re.search(r"^ExecStart=(.*)$", machine.unit.read_text(), re.MULTILINE)[1]
    assert f'--config "{str(config).replace("%", "%%")}" --log-level debug --metrics 127.0.0.1:9091' in line
    assert agent_of(machine.unit.read_text()).state_dir == machine.state
    config.write_text("nonsense = 1\n")
    wrong = machine.install("--config", str(config))
    assert (wrong.exit_code, "nonsense" in wrong.output) == (2, True)


@pytest.mark.parametrize(
    "given",
    [("--log-level", "loud"), ("--metrics", "nonsense"), ("--metrics", "192.0.2.1:9091"), ("--config", "/nowhere/x")],
)
def test_a_daemon_that_would_not_start_is_not_installed(machine, given):
    done = machine.install(*given)
    assert (done.exit_code, given[1] in done.output) == (2, True), done.output
    assert not machine.unit.exists()
    assert not machine.state.exists()


@pytest.mark.parametrize("verb", ["daemon-reload", "enable"])
def test_where_systemd_fails_nothing_is_left_behind(machine, verb):
    before = machine.everything()
    done = machine.install(FAILING=verb)
    assert (done.exit_code, "nothing is installed" in done.output) == (1, True)
    after = machine.everything()
    assert after.pop(machine.folder / "bin" / "asked")
    assert after == before


def test_where_systemd_fails_the_unit_that_was_there_is_back(machine):
    assert machine.install().exit_code == 0
    before = machine.unit.read_text()
    assert machine.install("--log-level", "debug", FAILING="enable").exit_code == 1
    assert machine.unit.read_text() == before


def test_without_systemd_nothing_is_written(machine):
    before = machine.everything()
    for verb in ("install", "start", "status"):
        done = machine.call(verb, *(machine.own if verb == "install" else ()), PATH="/nowhere")
        assert (done.exit_code, "`meshloom service run`" in done.output) == (1, True)
    assert machine.everything() == before


@pytest.mark.parametrize("name", ["a b", "../x", "x@", "-x", ""])
def test_a_name_that_no_unit_can_have_is_refused(machine, name):
    for verb in ("install", "uninstall", "start"):
        done = machine.call(verb, "--name", name)
        assert (done.exit_code, "--name" in done.output) == (2, True)


def test_root_is_not_told_to_be_root(machine):
    machine.unit.mkdir()
    done = machine.install()
    assert (done.exit_code, "Is a directory" in done.output, "run as root" in done.output) == (1, True, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user for a while")
def test_others_are_told_to_be_root(machine, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(installation, "UNITS", Path(folder))
        shutil.copy(machine.folder / "bin" / "systemctl", folder)
        os.seteuid(65534)
        try:
            done = machine.call(
                "install", "--state-dir", f"{folder}/state", "--daemon-addr", f"unix://{folder}/s", PATH=folder
            )
        finally:
            os.seteuid(0)
    assert (done.exit_code, "Permission denied; run as root" in done.output) == (1, True), done.output


def test_failures_of_systemctl_have_the_documented_codes(machine):
    assert machine.call("status", FAILING="status", STATUS="3").exit_code == 3
    for verb in ("start", "stop", "restart", "status"):
        assert machine.call(verb, FAILING=verb, STATUS="4").exit_code == 1
        assert machine.call(verb, "--name", "second").exit_code == 0
        assert machine.asked[-1] == f"{verb} second.service"


def test_uninstall_keeps_the_state_and_purge_removes_what_is_ours(machine):
    assert machine.install().exit_code == 0
    (machine.state / "private.key").write_text("k")
    assert machine.call("uninstall").exit_code == 0
    assert not machine.unit.exists()
    assert (machine.state / "private.key").exists()
    assert machine.install().exit_code == 0
    (machine.state / "settings.json.copy").write_text("{}")
    (machine.state / "somebody's").write_text("")
    done = machine.call("uninstall", "--purge", "--local")
    assert (done.exit_code, "somebody's" in done.output) == (0, True), done.output
    assert [each.name for each in machine.state.iterdir()] == ["somebody's"]
    (machine.state / "somebody's").unlink()
    assert machine.install().exit_code == 0
    assert machine.call("uninstall", "--purge", "--local").exit_code == 0
    assert not machine.state.exists()


def test_purge_removes_nothing_where_the_server_cannot_be_told(machine):
    assert machine.install().exit_code == 0
    (machine.state / "private.key").write_text("k")
    done = machine.call("uninstall", "--purge", FAILING="start")
    assert (done.exit_code, "--local" in done.output) == (1, True)
    assert machine.unit.exists()
    assert (machine.state / "private.key").exists()


@pytest.mark.anyio
async def test_purge_has_the_server_forget_this_machine_and_removes_its_key(
    machine, joined, daemon, management, socket
):
    state = daemon.files.path
    machine.own = ("--state-dir", str(state), "--daemon-addr", f"unix://{socket}")
    assert machine.install().exit_code == 0
    assert management.peers
    done = await anyio.to_thread.run_sync(machine.call, "uninstall", "--purge")
    assert (done.exit_code, done.output) == (0, "uninstalled\n")
    assert management.peers == {}
    assert not state.exists()
    assert not machine.unit.exists()


def test_a_unit_is_read_back_as_it_was_written():
    for odd in ("a b", 'a"b', "a\\b", "100%n", "$HOME", "é", "%%"):
        text = Unit(Path("/opt/m"), Path(f"/srv/{odd}"), Path(f"/run/{odd}/s")).text()
        found = agent_of(text)
        assert (found.state_dir, found.address) == (Path(f"/srv/{odd}"), f"unix:///run/{odd}/s")
