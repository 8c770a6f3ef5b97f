"""The command ``setup-key``, for the server's own machine."""

from datetime import timedelta
from typing import Any

import click

from meshloom.config.convert import duration
from meshloom.terminal import say
from meshloom_management.local.asking import answer_or_exit
from meshloom_management.local.requests import CreateSetupKey
from meshloom_management.operations.owners import OWNER

NEVER = "never"


class Expiry(click.ParamType[int]):
    """Seconds, written like a duration; 0 for ``never``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Reads ``7d``, ``12h`` or ``never``."""
        if isinstance(value, int):
            return value
        try:
            given = timedelta() if value == NEVER else duration(value)
        except ValueError:
            given = timedelta()
        if value != NEVER and given < timedelta(seconds=1):
            self.fail(f"{value!r} is not a time from now on; write it like 7d or 12h, or {NEVER}", param, ctx)
        return int(given.total_seconds())


def setup_key_commands(about: str) -> click.Group:
    """Returns the command with what is below it.

    Args:
        about: For whom it is.
    """

    @click.group("setup-key", help=f"Keys that machines join the mesh with. {about}")
    def setup_key() -> None:
        """Only a name for what is below it."""

    @setup_key.command("create", help="Make a key, and print it: this once, and alone on standard output.")
    @click.option("--name", default="", metavar="NAME", help="How it is listed.")
    @click.option("--reusable", is_flag=True, help="Let more than one machine join with it.")
    @click.option(
        "--limit",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        metavar="NUMBER",
        help="How many machines may join with a reusable one; 0 for any number.",
    )
    @click.option(
        "--expires",
        "seconds",
        type=Expiry(),
        default="7d",
        show_default=True,
        help=f"How long it is good, such as 7d or 12h, or {NEVER}.",
    )
    @click.option("--group", "groups", multiple=True, metavar="GROUP", help="Name of a group that its machines join.")
    @click.option("--ephemeral", is_flag=True, help="Forget its machines some minutes after they have gone.")
    @click.option(
        "--user",
        default=OWNER,
        show_default=True,
        metavar="USER",
        help="In whose account: `owner`, or a user's email address or id.",
    )
    @click.pass_context
    def create(context: click.Context, /, user: str, name: str, seconds: int, limit: int, **given: Any) -> None:
        groups = list(given["groups"])
        request = CreateSetupKey(user, name, given["reusable"], seconds, limit, given["ephemeral"], groups)
        said = answer_or_exit(context, lambda: request)
        until = f"good until {said['expires']}" if said["expires"] else "good for ever"
        most = int(said["limit"])
        machines = "any number of machines" if not most else f"{most} machine{'s' * (most != 1)}"
        say(f"a key for {machines}, {until}:", error=True)
        say(said["key"])

    return setup_key
