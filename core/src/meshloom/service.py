"""How a service reads its whole configuration: its own keys, the plugins, and the backends they offer."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import attrs

from meshloom.backend import AUTO, Backends
from meshloom.config import Chosen, Key, choose, choose_several, key, keys_of, read_toml
from meshloom.config.convert import structure
from meshloom.config.environment import unread
from meshloom.config.load import override
from meshloom.errors import ConfigError
from meshloom.plugins import Plugins

T = TypeVar("T")

PLUGINS = "plugins"
SEVERAL = frozenset({"transport"})
"""Kinds of which a service uses several backends at once."""


@attrs.frozen
class PluginTable:
    """The table ``[plugins]``."""

    disabled: tuple[str, ...] = key(default=(), help="Plugins that are not loaded, by the names of their modules.")


@attrs.frozen
class Setup(Generic[T]):
    """What a service starts from.

    Args:
        config: Its own keys.
        plugins: The plugins that are loaded.
        chosen: The backend of each kind that the service uses, by kind: ``store``, ``bus``, ``tunnel``.
        several: The same for kinds of which it uses several side by side: ``transport``.
        source: The file that it was read from; empty where there is none.
    """

    config: T
    plugins: Plugins
    chosen: Mapping[str, Chosen[Any, Any]]
    several: Mapping[str, list[Chosen[Any, Any]]]
    source: str = ""


def read_setup(
    config: type[T],
    kinds: Sequence[str],
    file: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, str] | None = None,
    modules: Sequence[ModuleType] = (),
) -> Setup[T]:
    """Read and check everything that a service can be told; nothing is started.

    Args:
        config: The attrs class of the service's own keys.
        kinds: The kinds of backend that it uses.
        file: TOML; None where there is none.
        environment: Variables such as ``MESHLOOM_STORE_BACKEND`` and ``MESHLOOM_STORE_SQLITE_FILE``.
        flags: Texts of the command line by dotted key.
        modules: Plugins besides the installed ones.

    Raises:
        ConfigError: All problems at once, each naming its key.
        PluginError: A plugin cannot be loaded.
    """
    source = str(file) if file else ""
    given = flags or {}
    tables = read_toml(file) if file else {}
    problems = [
        f"{name}: {tables.pop(name)!r} is no table; write [{name}]"
        for name in (PLUGINS, *kinds)
        if not isinstance(tables.get(name, {}), dict)
    ]
    parts: dict[str, Any] = {}

    def part(name: str, read: Callable[[Any], Any]) -> None:
        try:
            parts[name] = read(tables.pop(name, {}))
        except ConfigError as error:
            problems.extend(error.problems)

    problems += override(tables, keys_of(PluginTable, "plugins."), environment, given)
    part(PLUGINS, lambda table: structure(table, PluginTable, PLUGINS))
    plugins = Plugins(*modules, disabled=parts[PLUGINS].disabled if PLUGINS in parts else ())
    problems += unread(environment, _variables(config, kinds, plugins), tables)
    others = (each for each in setup_keys(config, kinds, plugins) if not each.name.startswith(f"{PLUGINS}."))
    problems += override(tables, others, environment, given)
    for kind in kinds:
        part(kind, partial(choose_several if kind in SEVERAL else choose, plugins.kinds()[kind]))
    try:
        made = structure(tables, config)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(*problems, source=source)
    return Setup(
        made,
        plugins,
        {kind: parts[kind] for kind in kinds if kind not in SEVERAL},
        {kind: parts[kind] for kind in kinds if kind in SEVERAL},
        source,
    )


def installed_plugins(environment: Mapping[str, str] = os.environ) -> Plugins:
    """Returns the plugins but those that ``MESHLOOM_PLUGINS_DISABLED`` names, for commands without a configuration.

    Raises:
        ConfigError: The variable names what is not installed.
        PluginError: A plugin cannot be loaded.
    """
    tables: dict[str, Any] = {}
    problems = override(tables, keys_of(PluginTable, f"{PLUGINS}."), environment, {})
    if problems:
        raise ConfigError(*problems)
    return Plugins(disabled=structure(tables.get(PLUGINS, {}), PluginTable, PLUGINS).disabled)


def setup_keys(config: type[Any], kinds: Sequence[str], plugins: Plugins) -> Iterator[Key]:
    """All keys of a service: its own, those that choose backends, and those of the backends installed.

    Command lines, environment variables and the reference are made from them.
    """
    yield from keys_of(config)
    for kind in kinds:
        backends = plugins.kinds()[kind]
        yield selector(kind, backends)
        for backend in backends:
            yield from keys_of(backend.options, f"{kind}.{backend.name}.")
    yield from keys_of(PluginTable, "plugins.")


def selector(kind: str, backends: Backends[Any, Any]) -> Key:
    """The key that chooses among a kind's backends: ``store.backend``, or ``transport.backends``."""
    listed = ", ".join(f"`{backend.name}`" for backend in backends)
    if kind in SEVERAL:
        helped = f"Which {kind}s are used, best first: some of {listed}; `auto` for all that can run on this host."
        return Key(f"{kind}.backends", tuple[str, ...], (AUTO,), helped)
    helped = f"Which {kind} is used: one of {listed}; `auto` for the first that can run on this host."
    return Key(f"{kind}.backend", str, AUTO, helped)


def _variables(config: type[Any], kinds: Sequence[str], plugins: Plugins) -> Iterator[str]:
    """The variables that a service reads, and those of installed backends that it has no use for."""
    yield from (key.environment for key in setup_keys(config, kinds, plugins))
    for kind, backends in plugins.kinds().items():
        for backend in backends:
            yield from (key.environment for key in keys_of(backend.options, f"{kind}.{backend.name}."))
