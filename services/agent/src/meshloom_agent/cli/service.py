"""``meshloom service``: the daemon under systemd, or by hand."""

import os
import subprocess
import sys
from pathlib import Path

import click

from meshloom.log_levels import LISTED
from meshloom.terminal import say
from meshloom_agent.cli.client import DEFAULT_SOCKET
from meshloom_agent.cli.exits import FAILED, USAGE, fail

UNIT = Path("/etc/systemd/system/meshloom.service")


@click.group()
def service() -> None:
    """The daemon of this machine."""


state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default="/var/lib/meshloom",
    show_default=True,
    envvar=["MESHLOOM_STATE_DIR", "NB_STATE_DIR"],
    help="Folder of its key and state.",
)
address_option = click.option(
    "--daemon-addr",
    default=DEFAULT_SOCKET,
    show_default=True,
    envvar=["MESHLOOM_DAEMON_ADDR", "NB_DAEMON_ADDR"],
    help="Its socket.",
)


@service.command()
@state_dir_option
@address_option
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (TOML).")
@click.option(
    "-l",
    "--log-level",
    default="",
    envvar=["MESHLOOM_LOG_LEVEL", "NB_LOG_LEVEL"],
    help=f"{LISTED}. [default: the configuration's]",
)
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=["MESHLOOM_LOG_FILE", "NB_LOG_FILE"],
    help="File to log to; after a rename, or at SIGHUP, it is made again. [default: standard error]",
)
@click.option(
    "--metrics",
    default="",
    envvar="MESHLOOM_METRICS",
    help="Address of metrics for Prometheus, such as 127.0.0.1:9091. [default: the configuration's, else none]",
)
def run(
    *, state_dir: Path, daemon_addr: str, config: Path | None, log_level: str, log_file: Path | None, metrics: str
) -> None:
    """Run the daemon in the foreground."""
    from meshloom.errors import ConfigError, MeshError
    from meshloom_agent.main import run_daemon

    if not daemon_addr.startswith("unix://"):
        fail(USAGE, f"--daemon-addr {daemon_addr}: only unix sockets, written unix:///path")
    try:
        run_daemon(state_dir, Path(daemon_addr.removeprefix("unix://")), config, log_level, log_file, metrics=metrics)
    except* ConfigError as group:
        fail(USAGE, _first(group))
    except* MeshError as group:
        fail(FAILED, _first(group))


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@service.command()
@state_dir_option
@address_option
def install(state_dir: Path, daemon_addr: str) -> None:
    """Make a systemd unit and start it with the machine."""
    from meshloom.errors import ConfigError
    from meshloom_agent.cli.unit import Unit

    if not daemon_addr.startswith("unix:///"):
        fail(USAGE, f"--daemon-addr {daemon_addr}: only unix sockets, written unix:///path")
    code = {Path(sys.prefix), Path(sys.base_prefix), *(Path(each) for each in sys.path if each)}
    state, socket = (Path(os.path.normpath(each)) for each in (state_dir.absolute(), daemon_addr[len("unix://") :]))
    try:
        text = Unit(Path(sys.argv[0]).resolve(), state, socket, tuple(sorted(code))).text()
    except ConfigError as error:
        fail(USAGE, error)
    try:
        for folder, mode in ((state, 0o700), (socket.parent, 0o755)):
            folder.mkdir(mode, parents=True, exist_ok=True)  # the unit may write there only if it is there
        UNIT.write_text(text)
    except OSError as error:
        fail(FAILED, f"{error.filename or UNIT}: {error.strerror}; run as root")
    _systemctl("daemon-reload")
    _systemctl("enable", UNIT.name)
    say(f"installed: {UNIT}")


@service.command()
def uninstall() -> None:
    """Stop the daemon and remove its systemd unit; its state stays."""
    if not UNIT.exists():
        fail(FAILED, f"{UNIT} is not there")
    _systemctl("disable", "--now", UNIT.name)
    UNIT.unlink()
    _systemctl("daemon-reload")
    say("uninstalled")


def _verb(name: str, about: str) -> None:
    @service.command(name, help=about)
    def verb() -> None:
        _systemctl(name, UNIT.name)


for _name, _about in (
    ("start", "Start the daemon by systemd."),
    ("stop", "Stop the daemon by systemd."),
    ("restart", "Restart the daemon by systemd."),
    ("status", "Show what systemd says of the daemon."),
):
    _verb(_name, _about)


def _systemctl(*arguments: str) -> None:
    try:
        done = subprocess.run(["systemctl", *arguments], check=False)
    except FileNotFoundError:
        fail(FAILED, "systemctl is not installed: run the daemon with `meshloom service run`")
    if done.returncode:
        sys.exit(done.returncode)
