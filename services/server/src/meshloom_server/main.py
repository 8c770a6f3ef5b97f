"""``meshloom-server``: all services in one process, on one TCP port and one UDP port."""

import sys
from functools import partial
from pathlib import Path

import anyio
import click

from meshloom.config.problems import gather
from meshloom.errors import ConfigError, MeshError
from meshloom.model.state import ENTITIES
from meshloom.service import Setup
from meshloom.store import StoreContext
from meshloom.terminal import say, say_error
from meshloom.text import json_text
from meshloom_front.commands import EXIT_FAILED, example, server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.listening import parse_address
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_management.api.endpoints import description
from meshloom_management.configured import check_management
from meshloom_management.local.commands import add_local_commands
from meshloom_management.main import KINDS, management
from meshloom_relay.main import add_relay, check_relay
from meshloom_server.registered import Registered
from meshloom_server.signal_peers import RegisteredPeers, end_removed
from meshloom_signal.main import add_signal
from meshloom_stun.main import add_stun, check_stun


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    table = setup.config.relay
    async with management(setup, parts, has_relay=table.enabled) as container:
        accounts = container.accounts()
        end_removed(accounts, add_signal(parts, setup.config, RegisteredPeers(accounts)))
        add_stun(parts, setup.config)
        if table.enabled:
            is_only = table.secret is None  # made by this server, for itself
            registered = Registered(accounts, is_only=is_only, lifetime=table.token_lifetime)
            registered.removed = add_relay(parts, setup, registered.refusal).remove
        await serve(setup.config, parts)


def check_parts(setup: Setup[ServerConfig]) -> None:
    """Checks what the configuration says of all parts.

    Raises:
        ConfigError: Everything that is wrong.
    """
    has_relay = setup.config.relay.enabled
    parts = [partial(check_management, setup, has_relay=has_relay), partial(check_stun, setup)]
    gather(*parts, *((partial(check_relay, setup), partial(_check_apart, setup)) if has_relay else ()))


def _check_apart(setup: Setup[ServerConfig]) -> None:
    """Looks whether STUN leaves the UDP port with the number of `listen` to the relay."""
    config = setup.config
    _, port = parse_address(config.listen, "listen")
    wires = {each.backend.wire or each.backend.name for each in setup.several["transport"]}
    for key, number in (("stun_port", config.stun_port), ("stun_alternate_port", config.stun_alternate_port)):
        if number == port != 0 and "quic" in wires:
            raise ConfigError(f"{key} = {number}: UDP {port} is the relay's, by QUIC, as listen says; choose another")


main = server_commands(
    "meshloom-server",
    "Meshloom's server: management, signal, relay and STUN in one process.",
    KINDS,
    run,
    checks=(check_parts,),
)
add_local_commands(main)


@main.command(
    "backup",
    help="Write a consistent copy of the state to FILE, also while the server runs.",
    epilog=example("meshloom-server backup /var/backups/meshloom.db"),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def backup(context: click.Context, file: Path) -> None:
    """Through the store's own means."""

    async def copy() -> None:
        setup: Setup[ServerConfig] = context.obj()
        looking = StoreContext(setup.config.data_dir, ENTITIES, read_only=True)  # a running server owns the file
        async with setup.chosen["store"].open(looking) as store:
            await store.backup(file)

    try:
        anyio.run(copy)
    except MeshError as error:
        say_error(error)
        sys.exit(EXIT_FAILED)
    say(f"written: {file}")


@main.command("openapi", help="Print the OpenAPI document of the HTTP API.", epilog=example("meshloom-server openapi"))
def openapi() -> None:
    """Made from the code."""
    say(*json_text(description(), indent=2).split("\n"))
