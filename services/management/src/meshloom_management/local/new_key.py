"""The command ``new-key``: another key for a server that has lost its own for good."""

import sys

import anyio
import click

from meshloom.errors import ConfigError, MeshError
from meshloom.model.keys import PublicKey
from meshloom.model.state import ENTITIES
from meshloom.service import Setup
from meshloom.store import StoreContext
from meshloom.terminal import say, say_error
from meshloom_front.commands import EXIT_FAILED
from meshloom_front.config import ServerConfig
from meshloom_management.local.ownership import as_owner_of
from meshloom_management.server_key import NAME, kept_key, make_key


def new_key_command() -> click.Command:
    """Returns the command."""

    @click.command("new-key", help="Make another server.key, where it is lost for good. The server must be stopped.")
    @click.pass_context
    def new_key(context: click.Context) -> None:
        try:
            made = _made(context.obj())
        except (MeshError, OSError) as error:
            say_error(error)
            sys.exit(EXIT_FAILED)
        say(f"the server's key is now {made.text}")
        say("agents that reach the server over plain http need `meshloom up --accept-server-key`, each once")

    return new_key


def _made(setup: Setup[ServerConfig]) -> PublicKey:
    folder = setup.config.data_dir
    if not folder.exists():
        raise ConfigError(f"data_dir = {str(folder)!r}: no such folder: no server ran with it; name the server's own")

    async def make() -> PublicKey:
        async with setup.chosen["store"].open(StoreContext(folder, ENTITIES)):  # no server runs meanwhile
            if kept_key(folder) is not None:
                raise ConfigError(f"{folder / NAME} is there: agents know the server by it; nothing is changed")
            return make_key(folder).public

    with as_owner_of(folder):
        return anyio.run(make)
