"""The agent's systemd unit: nothing that is written into it becomes a setting, a specifier or a variable."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from meshloom.errors import ConfigError
from meshloom_agent.cli import installation
from meshloom_agent.cli.main import main
from meshloom_agent.cli.unit import Unit, argument, quoted

ROOT = Path(__file__).resolve().parents[3]
MANAGER = "/lib/systemd/systemd"
ODD = ["a b", 'a"b', "a'b", "a\\b", "100%n", "$HOME", "${HOME}$$", ";", "#x", "-x", "é東", "a\\x20b", "%%", "x\\"]
HIDDEN = [
    "/x\nExecStartPre=/bin/evil",
    "/x\r",
    "/x\x1b[2J",
    "/x\u202e",
    "/x\u2028",
    "/x\udcff",
    "/x\x7f",
    "/\t",
]
PROGRAM, STATE, SOCKET = (
    Path("/opt/meshloom/.venv/bin/meshloom"),
    Path("/var/lib/meshloom"),
    "/run/meshloom/meshloom.sock",
)


def unit(program=PROGRAM, state=STATE, socket=SOCKET, code=()):
    return Unit(Path(program), Path(state), Path(socket), tuple(map(Path, code))).text()


def words_of(text):
    """A line's words as systemd.syntax(7) and systemd.service(5) read them: quotes, escapes, specifiers, variables."""
    found, rest = [], text
    while rest := rest.strip(" "):
        word = re.match(r'"((?:[^"\\]|\\.)*)"(?= |$)|([^" \\]+)(?= |$)', rest)
        assert word, rest
        rest = rest[word.end() :]
        plain = re.sub(r'\\(["\\])', r"\1", word[1]) if word[1] is not None else word[2]
        assert not re.search(r"\$", plain.replace("$$", "")), "a variable"
        assert not re.search(r"%", plain.replace("%%", "")), "a specifier"
        assert word[0] != ";", "another command"
        found.append(plain.replace("$$", "$").replace("%%", "%"))
    return found


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Runs ``service install`` with a unit's file, and a systemctl, of the test's own."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(installation, "UNITS", tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin/meshloom")])
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return lambda *argv, **environment: CliRunner().invoke(main, ["service", "install", *argv], env=environment)


def test_the_distribution_carries_what_install_writes():
    assert (ROOT / "services/agent/systemd/meshloom.service").read_text() == unit()


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_what_nobody_can_see_is_refused_in_arguments(install, tmp_path, hidden):
    for option, value in (("--state-dir", hidden), ("--daemon-addr", f"unix://{hidden}")):
        done = install(option, value)
        assert (done.exit_code, "cannot be seen" in done.output) == (2, True), done.output
        assert not (tmp_path / "meshloom.service").exists()


@pytest.mark.parametrize("prefix", ["MESHLOOM_", "NB_"])
def test_what_nobody_can_see_is_refused_in_the_environment(install, tmp_path, prefix):
    for name, value in (("STATE_DIR", "/x\nUser=x"), ("DAEMON_ADDR", "unix:///x\nUser=x")):
        done = install(**{prefix + name: value})
        assert (done.exit_code, "cannot be seen" in done.output) == (2, True), done.output
        assert not (tmp_path / "meshloom.service").exists()


def test_the_rest_is_quoted_and_its_folders_are_made(install, tmp_path):
    state = tmp_path / 'a "b" 100%n $HOME'
    done = install("--state-dir", str(state), "--daemon-addr", f"unix://{tmp_path}/s dir/socket")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "meshloom.service").read_text()
    assert words_of(re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)[1])[1:] == [
        "service", "run", "--state-dir", str(state), "--daemon-addr", f"unix://{tmp_path}/s dir/socket"
    ]  # fmt: skip
    assert state.is_dir()
    assert state.stat().st_mode & 0o077 == 0
    writable = [
        words_of(each.replace("$", "$$"))[0] for each in re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE)
    ]
    assert writable == [str(state), f"{tmp_path}/s dir"]


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1) | st.sampled_from(ODD))
def test_a_word_comes_back_from_the_line_as_it_was(word):
    try:
        assert words_of(argument(word)) == [word]
        assert words_of(f"{argument(word)} {argument('b')}") == [word, "b"]
    except ConfigError:
        assert not word.isprintable() or not word.isascii()


@pytest.mark.parametrize("program", ['/opt/a"b/m', "/opt/a'b/m", "/opt/a\\b/m", "/opt/$a/m"])
def test_a_program_that_systemd_would_not_start_is_refused(program):
    with pytest.raises(ConfigError, match="systemd starts no program with"):
        unit(program=program)


@pytest.fixture
def open_folder():
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def read_by_systemd(folder):
    """What systemd's own manager makes of the folder's unit, which it loads and does not start."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    (folder / "home").mkdir()
    (folder / "home").chmod(0o777)
    done = subprocess.run(
        [*nobody, MANAGER, "--user", "--test", "--unit=meshloom.service", "--no-pager"],
        env={"SYSTEMD_UNIT_PATH": f"{folder}:", "HOME": f"{folder}/home", "XDG_RUNTIME_DIR": f"{folder}/home"},
        stdout=subprocess.PIPE, text=True, check=False, cwd="/", timeout=60,
    )  # fmt: skip
    return done.stdout.partition("-> Unit meshloom.service:\n")[2].partition("-> Unit ")[0]


@pytest.mark.skipif(not Path(MANAGER).exists(), reason="needs systemd: run make setup-tests")
@pytest.mark.parametrize("odd", ODD)
def test_systemd_itself_reads_what_was_meant(open_folder, odd):
    program = open_folder / "a dir 100%" / "meshloom"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    file = open_folder / "meshloom.service"
    file.write_text(unit(program=program, state=f"/srv/{odd}", socket=f"/srv/s/{odd}"))
    verify = ["systemd-analyze", "verify", "--man=no", file]
    verified = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
    assert (verified.returncode, verified.stderr) == (0, "")
    command, reload = re.findall(r"Command Line: (.*)", read_by_systemd(open_folder))
    assert reload.startswith("/bin/kill -HUP ")
    read = [word.replace(r"\$", "$").replace("$$", "$") for word in shlex.split(command)]  # $$ is read at the start
    assert read == [
        str(program),
        "service",
        "run",
        "--state-dir",
        f"/srv/{odd}",
        "--daemon-addr",
        f"unix:///srv/s/{odd}",
    ]


def test_a_sandbox_leaves_what_the_program_is_made_of():
    assert "ProtectHome=yes\n" in unit()
    assert "ProtectHome=read-only\n" in unit(code=("/root/.pyenv/lib",))
    assert "ProtectHome=read-only\n" in unit(program="/home/me/.venv/bin/meshloom")
    assert "PrivateTmp=yes\n" in unit()
    assert "PrivateTmp=no\n" in unit(program="/tmp/venv/bin/meshloom")


def protections(text):
    kinds = "Protect|Restrict|Private|Lock|NoNew|System|Remove|UMask|Capab|Device"
    return set(re.findall(rf"^((?:{kinds})\w*=.*)$", text, re.MULTILINE))


def test_the_agent_is_as_hardened_as_the_server_but_for_what_it_needs():
    server = protections((ROOT / "services/server/systemd/meshloom-server.service").read_text())
    assert server - protections(unit()) == {
        "PrivateDevices=yes",  # /dev/net/tun
        "ProtectKernelModules=yes",  # the backend `kernel` reads /lib/modules; there is no CAP_SYS_MODULE all the same
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    }


def test_words_that_need_no_quotes_have_none():
    assert quoted("/var/lib/meshloom") == "/var/lib/meshloom"
