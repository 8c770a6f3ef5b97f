"""Finding plugins and gathering what they offer: an object made in ``main``, never a module's global."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from types import ModuleType
from typing import Any

import attrs
import pluggy

from meshloom import hookspecs
from meshloom.backend import AUTO, Backend, Backends
from meshloom.bus import Bus, BusContext
from meshloom.errors import ConfigError, PluginError
from meshloom.store import Store, StoreContext
from meshloom.transport import Transport, TransportContext
from meshloom.tunnel import Tunnel, TunnelContext

ENTRY_POINTS = "meshloom"
"""Entry-point group; an entry point's name is its module's name, so that two plugins never hide one another."""


class Plugins:
    """The plugins of one process.

    Args:
        modules: Plugins registered directly, as tests do.
        entry_points: Whether installed distributions are asked too.
        disabled: Names of plugins (their modules' names) that are not loaded.

    Raises:
        PluginError: A plugin implements a hook that does not exist, or cannot be imported.
        ConfigError: Something that is not installed is disabled.
    """

    def __init__(self, *modules: ModuleType, entry_points: bool = True, disabled: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        found: dict[str, Callable[[], object]] = {
            module.__name__: partial(_itself, module) for module in (*_own(), *modules)
        }
        for point in metadata.entry_points(group=ENTRY_POINTS) if entry_points else ():
            if point.name != point.value:
                raise PluginError(
                    f"plugin {point.name!r}: its entry point must be named after its module {point.value!r}"
                )
            found.setdefault(point.name, point.load)
        if unknown := sorted(set(disabled) - set(found)):
            raise ConfigError(
                f"plugins.disabled: {', '.join(unknown)}: no such plugin; installed: {', '.join(sorted(found))}"
            )
        for name in set(found) - set(disabled):
            self._register(name, found[name])

    def _register(self, name: str, load: Callable[[], object]) -> None:
        try:
            self._manager.register(load(), name)
            self._manager.check_pending()
        except Exception as error:
            raise PluginError(
                f"plugin {name!r} cannot be loaded: {error}; uninstall it, or disable it by plugins.disabled"
            ) from error

    def tunnels(self) -> Backends[TunnelContext, Tunnel]:
        """The WireGuard devices on offer."""
        return Backends("tunnel", self._offers("meshloom_tunnels"))

    def stores(self) -> Backends[StoreContext, Store]:
        """The stores on offer."""
        return Backends("store", self._offers("meshloom_stores"))

    def buses(self) -> Backends[BusContext, Bus]:
        """The buses on offer."""
        return Backends("bus", self._offers("meshloom_buses"))

    def transports(self) -> Backends[TransportContext, Transport]:
        """What can carry relay messages."""
        return Backends("transport", self._offers("meshloom_transports"))

    def kinds(self) -> dict[str, Backends[Any, Any]]:
        """The backends of every kind."""
        return {
            "tunnel": self.tunnels(),
            "store": self.stores(),
            "bus": self.buses(),
            "transport": self.transports(),
        }

    def names(self) -> list[str]:
        """Names of the loaded plugins."""
        return sorted(name for name, module in self._manager.list_name_plugin() if module is not None)

    def _offers(self, hook: str) -> list[Backend[Any, Any]]:
        found: list[Backend[Any, Any]] = []
        for plugin in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                offered = list(plugin.function())
            except Exception as error:
                raise PluginError(f"plugin {plugin.plugin_name!r}: {hook} raised {error!r}") from error
            for offer in offered:
                if complaint := _complaint(offer):
                    raise PluginError(f"plugin {plugin.plugin_name!r}: {hook} offers {offer!r}, {complaint}")
            found += offered
        return found


def _complaint(offer: object) -> str:
    if not isinstance(offer, Backend):
        return "which is not a meshloom.Backend"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", offer.name) or offer.name in (AUTO, "backend"):
        return "whose name is not kebab-case, or is a word of the configuration"
    if not attrs.has(offer.options):
        return "whose options are not an attrs class"
    return ""


def _itself(module: ModuleType) -> ModuleType:
    return module


def _own() -> tuple[ModuleType, ...]:
    from meshloom import local_bus, memory_store

    return local_bus, memory_store
