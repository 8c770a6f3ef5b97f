"""``meshloom service``: the daemon under systemd, or by hand."""

import os
import sys
from functools import partial
from pathlib import Path

import click

from meshloom.log_levels import LISTED
from meshloom.terminal import say
from meshloom_agent.cli.client import DEFAULT_SOCKET
from meshloom_agent.cli.exits import FAILED, USAGE, fail

LEAVE_WITHIN = 60.0
"""Seconds for the daemon to leave the account: longer than it gives management."""


@click.group()
def service() -> None:
    """The daemon of this machine."""


state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    default="/var/lib/meshloom",
    show_default=True,
    envvar=["MESHLOOM_STATE_DIR", "NB_STATE_DIR"],
    help="Folder of its key and state.",
)
address_option = click.option(
    "--daemon-addr",
    default=DEFAULT_SOCKET,
    show_default=True,
    metavar="ADDRESS",
    envvar=["MESHLOOM_DAEMON_ADDR", "NB_DAEMON_ADDR"],
    help="Its socket.",
)


config_option = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (TOML)."
)
level_option = click.option(
    "-l",
    "--log-level",
    default="",
    metavar="LEVEL",
    envvar=["MESHLOOM_LOG_LEVEL", "NB_LOG_LEVEL"],
    help=f"{LISTED}. [default: the configuration's]",
)
metrics_option = click.option(
    "--metrics",
    default="",
    metavar="HOST:PORT",
    envvar="MESHLOOM_METRICS",
    help="Address of metrics for Prometheus, such as 127.0.0.1:9091. [default: the configuration's, else none]",
)
name_option = click.option(
    "--name", default="meshloom", show_default=True, metavar="UNIT", help="Name of its systemd unit."
)


@service.command()
@state_dir_option
@address_option
@config_option
@level_option
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=["MESHLOOM_LOG_FILE", "NB_LOG_FILE"],
    help="File to log to; after a rename, or at SIGHUP, it is made again. [default: standard error]",
)
@metrics_option
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
@config_option
@level_option
@metrics_option
@name_option
@click.option(
    "--force", is_flag=True, help="Replace a unit that was changed, or is another agent's; it is kept beside."
)
def install(
    *, state_dir: Path, daemon_addr: str, config: Path | None, log_level: str, metrics: str, name: str, force: bool
) -> None:
    """Make a systemd unit, and have it start with the machine."""
    from meshloom.errors import ConfigError
    from meshloom_agent.cli import installation
    from meshloom_agent.cli.unit import Unit

    if not daemon_addr.startswith("unix:///"):
        fail(USAGE, f"--daemon-addr {daemon_addr}: only unix sockets, written unix:///path")
    code = {Path(sys.prefix), Path(sys.base_prefix), *(Path(each) for each in sys.path if each)}
    state, socket = (Path(os.path.normpath(each)) for each in (state_dir.absolute(), daemon_addr[len("unix://") :]))
    file = config and Path(os.path.normpath(config.absolute()))
    more = {"--config": str(file or ""), "--log-level": log_level, "--metrics": metrics}
    given = tuple(word for name, value in more.items() if value for word in (name, value))
    try:
        _check(file, log_level, metrics)
        unit = Unit(Path(sys.argv[0]).resolve(), state, socket, tuple(sorted(code)), given, (file,) if file else ())
        unit.text()
    except ConfigError as error:
        fail(USAGE, error)
    installation.install(unit, installation.unit_file(name), force=force)


def _check(file: Path | None, log_level: str, metrics: str) -> None:
    """Looks whether the daemon would start with it."""
    from meshloom.errors import ConfigError
    from meshloom.inventory import problems_of
    from meshloom_agent.checked import check_given, read_checked

    reads = (partial(read_checked, file),) if file else ()
    if problems := [each for read in (*reads, partial(check_given, log_level, metrics)) for each in problems_of(read)]:
        raise ConfigError(*problems)


@service.command()
@name_option
@click.option("--purge", is_flag=True, help="Have the server forget this machine, and remove its key and state, too.")
@click.option("--local", is_flag=True, help="With --purge: do not ask the server, which may still know this machine.")
def uninstall(name: str, *, purge: bool, local: bool) -> None:
    """Stop the daemon and remove its systemd unit; its state stays."""
    from meshloom_agent.cli import installation

    if local and not purge:
        fail(USAGE, "--local belongs to --purge: without that, no server is asked")
    file = installation.unit_file(name)
    agent = installation.installed(file)
    if purge:
        _leave(agent.address, file.name, local=local)
    installation.uninstall(file)
    if purge:
        _forget(agent.state_dir)
    say("uninstalled")


def _leave(address: str, unit: str, *, local: bool) -> None:
    """Leave the account; what does not run is started for that."""
    from meshloom.rpc import daemon_pb2 as pb
    from meshloom_agent.cli import installation
    from meshloom_agent.cli.client import daemon, unreachable

    if local:
        return
    if unreachable(address) and installation.systemctl("start", unit):
        fail(FAILED, f"{unit} cannot be started to leave the server: --local removes all without asking it")
    with daemon(address) as stub:
        stub.Logout(pb.LogoutRequest(), timeout=LEAVE_WITHIN)


def _forget(state_dir: Path) -> None:
    from meshloom.errors import MeshError
    from meshloom_agent.files import StateDir

    try:
        left = StateDir(state_dir).forget_all() if state_dir.exists() else []
    except MeshError as error:
        fail(FAILED, error)
    if left:
        say(f"{state_dir} stays, with what others put there: {', '.join(left)}", error=True)


def _verb(verb: str, about: str) -> None:
    @service.command(verb, help=about)
    @name_option
    def run_verb(name: str) -> None:
        from meshloom_agent.cli.installation import pass_on

        pass_on(verb, name)


for _name, _about in (
    ("start", "Start the daemon by systemd."),
    ("stop", "Stop the daemon by systemd."),
    ("restart", "Restart the daemon by systemd."),
    ("status", "Show what systemd says of the daemon."),
):
    _verb(_name, _about)
