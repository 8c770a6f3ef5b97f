"""Command lines of the servers: an option for each configuration key, errors as sentences, exit codes for scripts."""

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from meshloom import __version__
from meshloom.config import keys_of
from meshloom.errors import ConfigError, MeshError
from meshloom.inventory import describe_offers, offers, problems_of
from meshloom.log_levels import level_number, set_levels
from meshloom.log_lines import log_to
from meshloom.service import Setup, installed_plugins, read_setup
from meshloom.terminal import say, say_error, show_crash
from meshloom_front.checking import Check, check_setup
from meshloom_front.config import ServerConfig
from meshloom_front.memory import keep_freed_memory

Run = Callable[[Setup[ServerConfig]], Awaitable[None]]

EXIT_FAILED, EXIT_CONFIG = 1, 2
EXIT_CODES = """\b
Exit codes:
  0  done, or told to stop
  1  failed: a file that cannot be written, a store that does not open
  2  wrong use: an option, a value, the configuration file, an address that is taken
"""  # \b is click's mark for lines kept as they are


class ServerGroup(click.Group):
    """A server's commands, with what its configuration can say; the reference is made from both.

    Args:
        config: The class of its own keys.
        kinds: Kinds of backend that it uses.
        checks: Look at its configuration.
    """

    def __init__(
        self, *args: Any, config: type[ServerConfig], kinds: Sequence[str], checks: Sequence[Check], **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.config, self.kinds, self.checks = config, kinds, checks


def example(line: str) -> str:
    """Returns what a command's help ends with: a line that can be run."""
    return f"\b\nExample:\n  {line}"


def server_commands(
    name: str,
    about: str,
    kinds: Sequence[str],
    run: Run,
    *,
    checks: Sequence[Check] = (),
    renamed: Mapping[str, str] | None = None,
) -> ServerGroup:
    """A group that runs the server where no command is given.

    Args:
        name: Of the program.
        about: One sentence for its help.
        kinds: Kinds of backend that it uses.
        run: Serves until told to stop.
        checks: Look at its configuration before it starts, and for ``config check``.
        renamed: Environment variables of NetBird's that are read where ours are not set, by our names.
    """
    keys = list(keys_of(ServerConfig))

    @click.group(
        name,
        cls=ServerGroup,
        config=ServerConfig,
        kinds=kinds,
        checks=checks,
        help=about,
        invoke_without_command=True,
        context_settings={"auto_envvar_prefix": None, "help_option_names": ["-h", "--help"]},
    )
    @click.version_option(__version__, message="%(version)s", help="Print the version.")
    @click.option(
        "--config", "file", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (TOML)."
    )
    @click.pass_context
    def group(context: click.Context, /, file: Path | None, **given: str | None) -> None:
        texts = {key.name: given.get(key.name.replace(".", "_")) for key in keys}
        flags = {name: text for name, text in texts.items() if text is not None}
        context.obj = partial(_setup, kinds, renamed or {}, flags, file=file)
        if context.invoked_subcommand is None:
            start(context.obj, run, checks)

    for each in keys:
        if not each.is_secret:
            default = f"; default: {each.default_text}" if each.default_text else ""
            described = f"{each.help} [{each.environment}{default}]"
            group.params.append(
                click.Option([each.flag, each.name.replace(".", "_")], help=described, metavar=each.placeholder)
            )

    file_example = f"/etc/meshloom/{name.removeprefix('meshloom-')}.toml"
    group.epilog = f"{example(f'{name} --config {file_example}')}\n\n{EXIT_CODES}"

    @group.command("version", help="Print the version.", epilog=example(f"{name} version"))
    def version() -> None:
        say(__version__)

    @group.command(
        "plugins", help="List installed backends, and which would run here.", epilog=example(f"{name} plugins")
    )
    def plugins() -> None:
        try:
            say(*describe_offers(offers(installed_plugins()), name, kinds).split("\n"))
        except MeshError as error:
            _fail(error)

    checking = example(f"{name} config check {file_example}")

    @group.group("config", help="The configuration file.", epilog=checking)
    def config() -> None:
        """Only a name for what is below it."""

    @config.command("check", help="Say what is wrong with a configuration file; nothing is started.", epilog=checking)
    @click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
    @click.pass_context
    def check(context: click.Context, file: Path) -> None:
        problems = problems_of(lambda: check_setup(context.obj(file=file), checks))
        say(*problems, error=True)
        if problems:
            sys.exit(EXIT_CONFIG)
        say(f"{file}: good")

    return group


def _setup(
    kinds: Sequence[str], renamed: Mapping[str, str], flags: dict[str, str], *, file: Path | None
) -> Setup[ServerConfig]:
    theirs = {ours: os.environ[name] for ours, name in renamed.items() if name in os.environ}
    return read_setup(ServerConfig, kinds, file, environment={**theirs, **os.environ}, flags=flags)


def start(setup: Callable[[], Setup[ServerConfig]], run: Run, checks: Sequence[Check]) -> None:
    """Read the configuration and run; ends the process with a sentence and a code where it cannot."""
    sys.excepthook = show_crash
    signal.signal(signal.SIGHUP, lambda *_: None)  # ends nothing, not even before there is something to read again
    with_uvloop: dict[str, Any] = {"backend": "asyncio", "backend_options": {"use_uvloop": True}}
    try:
        made = setup()
        check_setup(made, checks)
        _log_from(made.config.log_level)
        keep_freed_memory()
        anyio.run(run, made, **with_uvloop)
    except BaseExceptionGroup as group:
        known, other = group.split((MeshError, OSError))
        if other is not None or known is None:
            raise
        _fail(_first(known))
    except (MeshError, OSError, ValueError) as error:
        _fail(error)


def _log_from(level: str) -> None:
    """Log to standard error, from that level on; what libraries tell, from WARNING on.

    Raises:
        ConfigError: There is no such level.
    """
    number = level_number(level)
    logging.basicConfig(handlers=[log_to(logging.StreamHandler())])
    set_levels(number, number)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every request that strangers get wrong


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _fail(error: BaseException) -> None:
    said = isinstance(error, OSError) and error.strerror and f"{error.filename or 'the system'}: {error.strerror}"
    say_error(said or error)
    sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED)
