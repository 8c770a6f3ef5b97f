"""The commands ``owner``, ``token``, ``setup-key`` and ``new-key``, for the server's own machine."""

import sys
from datetime import timedelta
from getpass import getpass
from typing import Any

import click

from meshloom.config.convert import duration
from meshloom.terminal import say
from meshloom_front.commands import example
from meshloom_management.errors import InvalidArgument
from meshloom_management.local.asking import answer_or_exit
from meshloom_management.local.new_key import new_key_command
from meshloom_management.local.requests import CreateOwner, CreateToken, ResetPassword
from meshloom_management.local.setup_keys import setup_key_commands
from meshloom_management.operations.owners import OWNER
from meshloom_management.operations.tokens import LONGEST_DAYS

_ABOUT = "For root and the server's user, on the server's own machine; no token is needed, and the server may run."


class Days(click.ParamType[int]):
    """A whole number of days, written like a duration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Reads ``30d``."""
        if isinstance(value, int):
            return value
        try:
            days, rest = divmod(duration(value), timedelta(days=1))
        except ValueError:
            days, rest = 0, timedelta()
        if rest or not 1 <= days <= LONGEST_DAYS:
            self.fail(f"{value!r} is not 1 to {LONGEST_DAYS} whole days; write it like 30d", param, ctx)
        return days


def add_local_commands(group: click.Group) -> None:
    """Adds the commands to a server's own."""
    owner, token, setup_key, new_key = _owner(), _token(), setup_key_commands(_ABOUT), new_key_command()
    for command, line in (
        (owner, "owner create you@example.net"),
        (owner.commands["create"], "owner create you@example.net"),
        (owner.commands["reset-password"], "owner reset-password --user you@example.net"),
        (token, "token create --expires 30d"),
        (token.commands["create"], "token create --expires 30d"),
        (setup_key, "setup-key create --reusable --expires 7d"),
        (setup_key.commands["create"], "setup-key create --reusable --expires 7d"),
        (new_key, "new-key"),
    ):
        command.epilog = example(f"{group.name} {line}")
    group.add_command(owner)
    group.add_command(token)
    group.add_command(setup_key)
    group.add_command(new_key)


def _owner() -> click.Group:
    @click.group("owner", help=f"The account and its owner. {_ABOUT}")
    def owner() -> None:
        """Only a name for what is below it."""

    @owner.command("create", help="Make the account and its owner. The password is asked for, or read from a pipe.")
    @click.argument("email")
    @click.option(
        "--name", default="", metavar="NAME", help="The owner's name; the email address where it is not given."
    )
    @click.pass_context
    def create(context: click.Context, email: str, name: str) -> None:
        said = answer_or_exit(context, lambda: CreateOwner(email, name or email, _password()))
        say(f"{said['user']} owns this server; a token for the API: meshloom-server token create")

    @owner.command("reset-password", help="Give a user another password. It is asked for, or read from a pipe.")
    @click.option(
        "--user", default=OWNER, show_default=True, metavar="USER", help="`owner`, or a user's email address or id."
    )
    @click.pass_context
    def reset_password(context: click.Context, user: str) -> None:
        said = answer_or_exit(context, lambda: ResetPassword(user, _password()))
        say(f"{said['user']} has a new password")

    return owner


def _token() -> click.Group:
    @click.group("token", help=f"Tokens for the HTTP API. {_ABOUT}")
    def token() -> None:
        """Only a name for what is below it."""

    @token.command("create", help="Give a user a token, and print it: this once, and alone on standard output.")
    @click.option(
        "--user",
        default=OWNER,
        show_default=True,
        metavar="USER",
        help="`owner`, or a user's email address or id, or a service user's name.",
    )
    @click.option(
        "--expires",
        "days",
        type=Days(),
        default="30d",
        show_default=True,
        help=f"How long it is good: whole days, 1d to {LONGEST_DAYS}d.",
    )
    @click.option("--name", default="", metavar="NAME", help="How it is listed.")
    @click.pass_context
    def create(context: click.Context, user: str, days: int, name: str) -> None:
        said = answer_or_exit(context, lambda: CreateToken(user, name, days))
        say(f"a token of {said['user']}, good until {said['expires']}:", error=True)
        say(said["token"])

    return token


def _password() -> str:
    """Asks for a password twice, or reads it from a pipe.

    Raises:
        InvalidArgument: The two differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass("Password: ")
    if getpass("Again: ") != first:
        raise InvalidArgument("the two passwords differ: nothing is changed")
    return first
