"""A request of a command: answered by the server that runs, or from the data folder where none does."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import click

from meshloom.errors import ConfigError, MeshError
from meshloom.model.account import Account
from meshloom.model.state import ENTITIES
from meshloom.service import Setup
from meshloom.store import StoreContext
from meshloom.terminal import say_error
from meshloom_front.commands import EXIT_FAILED
from meshloom_front.config import ServerConfig
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.local.ownership import as_owner_of
from meshloom_management.local.requests import Desk, Request, answer_line, decode_answer, encode_request
from meshloom_management.local.socket import ask
from meshloom_management.operations.setup import FirstSetup
from meshloom_management.rpc import seen_nonces
from meshloom_management.server_key import server_key


def answer_or_exit(context: click.Context, request: Callable[[], Request]) -> dict[str, str]:
    """Returns the answer to a request; where there is none, says why and ends the process."""
    try:
        setup: Setup[ServerConfig] = context.obj()
        return answer_to(setup, request())
    except (MeshError, OSError) as error:
        say_error(error)
        sys.exit(EXIT_FAILED)


def answer_to(setup: Setup[ServerConfig], request: Request) -> dict[str, str]:
    """Returns the answer to a request.

    Raises:
        MeshError: It cannot be answered.
    """
    folder, line = setup.config.data_dir, encode_request(request)
    if not folder.exists():
        raise ConfigError(f"data_dir = {str(folder)!r}: no such folder: no server ran with it; name the server's own")
    answer = ask(folder, line)
    if answer is None:
        with as_owner_of(folder):
            answer = anyio.run(partial(_answer_alone, setup, line))
    return decode_answer(answer)


async def _answer_alone(setup: Setup[ServerConfig], line: bytes) -> bytes:
    config = setup.config
    new = NewAccounts(config.network_range, config.network_range_v6, config.default_policy)
    context = StoreContext(config.data_dir, ENTITIES)
    async with setup.chosen["store"].open(context) as store:
        async with store.transaction() as transaction:
            is_new = not await transaction.find(Account)
        if is_new:
            _make_files(config.data_dir)
        async with Accounts.open(store, new=new) as accounts:
            return await answer_line(line, Desk(accounts, FirstSetup(accounts, None)).answer)


def _make_files(folder: Path) -> None:
    """Makes what a first start makes: once there is an account, it would be missed."""
    key = server_key(folder, is_known=False)
    with seen_nonces(folder, key, tuple):
        """Nothing came yet."""
