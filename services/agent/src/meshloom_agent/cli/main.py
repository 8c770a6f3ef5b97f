"""The commands."""

import sys
import threading
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from meshloom import __version__
from meshloom.terminal import say, show_crash
from meshloom.text import readable
from meshloom_agent.cli.client import daemon
from meshloom_agent.cli.diagnose import debug, doctor, netcheck
from meshloom_agent.cli.examples import add_examples
from meshloom_agent.cli.exits import FAILED, TIMEOUT, USAGE, WARNED, fail
from meshloom_agent.cli.options import address_option, option
from meshloom_agent.cli.path_options import login_fields, path_options
from meshloom_agent.cli.ping import ping
from meshloom_agent.cli.service import service
from meshloom_agent.cli.status import status

LOGIN_WITHIN, UP_WITHIN, LOGOUT_WITHIN = 120.0, 55.0, 60.0
"""Seconds for the daemon to do it: longer than it gives management. A login is two of them with a setup key."""


def join_options(command: Any) -> Any:
    """What says how this machine joins."""
    for each in reversed(
        [
            option("-m", "--management-url", help="URL of the server."),
            option("-k", "--setup-key", help="Key to join with; needed once."),
            option("--setup-key-file", type=click.Path(path_type=Path, dir_okay=False), help="File with the key."),
            option("-n", "--hostname", help="Name of this machine in the mesh."),
            option("--interface-name", help="Name of the WireGuard interface. [default: ml0]"),
            option(
                "--wireguard-port", type=click.IntRange(0, 65535), help="Its UDP port; 0 picks one. [default: 51820]"
            ),
            option("--mtu", type=click.IntRange(576, 8192), help="Its MTU. [default: the server's, else 1280]"),
            click.option(
                "--accept-server-key",
                is_flag=True,
                help="Accept the key that the server shows now, where it has another than before.",
            ),
            option("--preshared-key", help="Symmetric key that all machines share besides; empty for none."),
            option("--disable-ipv6/--enable-ipv6", default=None, help="No IPv6 inside the mesh."),
            option(
                "--extra-iface-blacklist",
                multiple=True,
                metavar="PREFIX",
                help="Beginning of names of interfaces not to offer.",
            ),
            *path_options,
            address_option,
        ]
    ):
        command = each(command)

    @wraps(command)
    def with_key(*args: Any, **given: Any) -> Any:
        file = given.pop("setup_key_file", None)
        if file is not None:
            try:
                given["setup_key"] = file.read_text().strip()
            except OSError as error:
                fail(USAGE, f"--setup-key-file {file}: {error.strerror}")
            except UnicodeDecodeError:
                fail(USAGE, f"--setup-key-file {file}: holds no key, but bytes that are not text")
        given = {name: readable(value) if isinstance(value, str) else value for name, value in given.items()}
        return command(*args, **given)

    return with_key


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s", help="Print the version.")
def main() -> None:
    """A WireGuard mesh that configures itself: this machine's part of it.

    \b
    Exit codes:
      0  done
      1  failed
      2  wrong use: an option, a value, a file of configuration
      3  the daemon does not run, or does not talk with this user
      4  the server does not know this machine, or refuses the key
      5  it took too long; the daemon goes on
      6  done, with warnings
    """  # noqa: D301 - \b is click's mark for lines kept as they are
    sys.excepthook = show_crash


def _log_in(stub: Any, given: dict[str, Any]) -> bool:
    """Logs in; tells whether all that was asked for is done. Warnings go to standard error."""
    from meshloom.rpc import daemon_pb2 as pb

    request = pb.LoginRequest(
        setupKey=given["setup_key"] or "",
        managementUrl=given["management_url"] or "",
        hostname=given["hostname"] or "",
        interfaceName=given["interface_name"],
        wireguardPort=given["wireguard_port"],
        mtu=given["mtu"],
        disable_ipv6=given["disable_ipv6"],
        extraIFaceBlacklist=given["extra_iface_blacklist"],
        optionalPreSharedKey=given["preshared_key"],
        accept_server_key=given["accept_server_key"],
        **login_fields(given),
    )
    answer = stub.Login(request, timeout=LOGIN_WITHIN)
    say(*(f"warning: {warning}" for warning in (*answer.warnings, *answer.not_done)), error=True)
    return not answer.not_done


@main.command()
@join_options
def up(daemon_addr: str, **given: Any) -> None:
    """Join the mesh and stay connected, also after a restart."""
    from meshloom.rpc import daemon_pb2 as pb

    with daemon(daemon_addr) as stub:
        status = stub.Status(pb.StatusRequest(), timeout=10).status
        if status == "Connected" and all(value in (None, (), False) for value in given.values()):
            say(f"Already connected{_as_whom(stub)}")
            return
        is_all = _log_in(stub, given)
        call = stub.Up.future(pb.UpRequest(), timeout=UP_WITHIN)
        try:
            _show_progress(stub, call)
        except KeyboardInterrupt:
            fail(FAILED, "not waiting any longer; the daemon goes on trying, `meshloom down` ends that")
        warnings = call.result().warnings
        if stub.Status(pb.StatusRequest(), timeout=10).status != "Connected":
            fail(TIMEOUT, "not connected yet; the daemon goes on trying, see `meshloom status`")
        said = _as_whom(stub)
    say(*(f"warning: {warning}" for warning in warnings), error=True)
    say(f"Connected{said}")
    if warnings or not is_all:
        sys.exit(WARNED)


def _as_whom(stub: Any) -> str:
    """Returns under which name and address this machine is connected, and with how many others."""
    from meshloom.rpc import daemon_pb2 as pb

    full = stub.Status(pb.StatusRequest(getFullPeerStatus=True), timeout=10).fullStatus
    own = full.localPeerState
    address = (own.IP or own.ipv6).partition("/")[0]
    names = ", ".join(name for name in (own.fqdn, address) if name)
    return f" as {names} ({len(full.peers)} peer{'s' * (len(full.peers) != 1)})" if names else ""


def _show_progress(stub: Any, call: Any) -> None:
    """Until the call is done: what is waited for, each time that it changes, on standard error."""
    from meshloom.rpc import daemon_pb2 as pb
    from meshloom_agent.events import waiting

    done, shown, pause = threading.Event(), "", 1.0  # what is done within a second needs no words
    call.add_done_callback(lambda _: done.set())
    while not done.wait(pause):
        text = waiting(stub.Status(pb.StatusRequest(getFullPeerStatus=True), timeout=10))
        if text and text != shown:
            say(text, error=True)
            shown = text
        pause = 0.2


@main.command()
@join_options
def login(daemon_addr: str, **given: Any) -> None:
    """Make this machine known to the server, without connecting."""
    with daemon(daemon_addr) as stub:
        is_all = _log_in(stub, given)
    say("Logged in")
    if not is_all:
        sys.exit(WARNED)


@main.command()
@address_option
def down(daemon_addr: str) -> None:
    """Disconnect, and stay so after a restart."""
    from meshloom.rpc import daemon_pb2 as pb

    with daemon(daemon_addr) as stub:
        stub.Down(pb.DownRequest(), timeout=30)
    say("Disconnected")


@main.command()
@click.option("--local", is_flag=True, help="Forget the account on this machine alone, without asking the server.")
@address_option
def logout(daemon_addr: str, *, local: bool) -> None:
    """Leave the account: the server forgets this machine, and then this machine the account."""
    from meshloom.rpc import daemon_pb2 as pb

    with daemon(daemon_addr) as stub:
        stub.Logout(pb.LogoutRequest(local=local), timeout=LOGOUT_WITHIN)
    say("Logged out")


main.add_command(logout, "deregister")


@main.command()
def version() -> None:
    """Print the version."""
    say(__version__)


@main.command()
def plugins() -> None:
    """List installed backends, and which would run here."""
    from meshloom.errors import MeshError
    from meshloom.inventory import describe_offers, offers
    from meshloom.service import installed_plugins
    from meshloom_agent.config import KINDS

    try:
        say(*describe_offers(offers(installed_plugins()), "meshloom", KINDS).split("\n"))
    except MeshError as error:
        fail(FAILED, error)


@main.group()
def config() -> None:
    """The daemon's configuration file."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Say what is wrong with FILE; nothing is started."""
    from meshloom.inventory import problems_of
    from meshloom_agent.checked import read_checked

    problems = problems_of(partial(read_checked, file))
    say(*problems, error=True)
    if problems:
        sys.exit(USAGE)
    say(f"{file}: good")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print completion for a SHELL, to be sourced."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is not None:
        say(*made(main, {}, "meshloom", "_MESHLOOM_COMPLETE").source().split("\n"))


for _command in (status, ping, netcheck, doctor, debug, service):
    main.add_command(_command)
add_examples(main)
