"""The keys of every program and of every backend."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, get_args

import attrs
import click
from workspace import Program, code, programs, table

from meshloom.config import Key, keys_of
from meshloom.plugins import Plugins
from meshloom.service import PluginTable, selector

INTRODUCTION = """\
Each program reads one TOML file: `--config FILE`. A key is set, in rising order of precedence, by its default, by the
file, by the environment variable, and by the flag where there is one. A name with dots is a key in a table: `tls.key`
is `key` below `[tls]`. In variables and flags, lists are written with commas between their items. A key that does not
exist is an error that names the nearest one, and so is a variable that begins with `MESHLOOM_` and that no program
reads; `config check FILE` of each program checks a file and starts nothing.

A secret is never written into the file itself, but as `{ file = "/path" }` or `{ env = "VARIABLE" }`; its environment
variable holds it.
"""


def page() -> str:
    """The page."""
    parts = [f"# Configuration\n\n{INTRODUCTION}"]
    for config in dict.fromkeys(program.config for program in programs()):
        users = [program for program in programs() if program.config is config]
        parts.append(f"## {_listed(users)}\n\n" + _keys(keys_of(config), users))
        parts.append(_keys(keys_of(PluginTable, "plugins."), users))
    for kind, backends in Plugins().kinds().items():
        users = [program for program in programs() if kind in program.kinds]
        used = f"Used by {_listed(users)}." if users else "No program uses one yet."
        parts.append(f"## Backends: {kind}\n\n{used}\n")
        if users:
            parts.append(_keys([selector(kind, backends)], users))
        for backend in backends:
            keys = list(keys_of(backend.options, f"{kind}.{backend.name}."))
            parts.append(f"### {kind}: {backend.name}\n")
            parts.append(_keys(keys, users) if keys else "It has no keys.\n")
    return "\n".join(parts)


def _listed(users: Iterable[Program]) -> str:
    return ", ".join(code(program.name) for program in users)


def _keys(keys: Iterable[Key], users: list[Program]) -> str:
    rows = []
    for key in keys:
        assert key.help, f"{key.name} has no help"
        flag = key.flag if any(key.flag in option.opts for user in users for option in _options(user.command)) else ""
        default = code("(required)" if key.default is attrs.NOTHING else key.default_text)
        rows.append((code(key.name), _type(key), default, code(key.environment), code(flag), key.help))
    return table(("Key", "Type", "Default", "Environment", "Flag", "Meaning"), rows)


def _options(command: click.Command) -> Iterator[click.Option]:
    """Of the command and of all below it, where they read a configuration file."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    if any("--config" in each.opts for each in options):
        yield from options
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _options(each)


WORDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    timedelta: "duration",
    IPv4Network: "IPv4 network",
    IPv6Network: "IPv6 network",
    IPv4Address: "IPv4 address",
    IPv6Address: "IPv6 address",
    IPv4Network | IPv6Network: "network",
}


def _type(key: Key) -> str:
    if key.is_secret:
        return "secret"
    kinds = [kind for kind in get_args(key.type) or (key.type,) if kind not in (type(None), Ellipsis)]
    is_list = get_args(key.type) and getattr(key.type, "__origin__", None) in (tuple, list, frozenset)
    words = " or ".join(_word(kind) for kind in kinds)
    return f"list of {words}" if is_list else words


def _word(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(repr(member.value) for member in kind)
    return WORDS.get(kind) or str(getattr(kind, "__name__", kind))
