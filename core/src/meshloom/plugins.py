"""Finding plugins and gathering what they offer: an object made in ``main``, never a module's global."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pluggy

from meshloom import hookspecs
from meshloom.backend import Backend, Backends
from meshloom.bus import Bus, BusContext
from meshloom.errors import PluginError
from meshloom.store import Store, StoreContext
from meshloom.tunnel import Tunnel, TunnelContext

ENTRY_POINTS = "meshloom"
"""Entry-point group; an entry point's name is its module's name, since pluggy skips a second one silently."""


class Plugins:
    """The plugins of one process.

    Args:
        modules: Plugins registered directly, as tests do.
        entry_points: Whether installed distributions are asked too.
        disabled: Names of plugins (their modules' names) that are not loaded.

    Raises:
        PluginError: A plugin implements a hook that does not exist, or cannot be imported.
    """

    def __init__(self, *modules: ModuleType, entry_points: bool = True, disabled: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for name in disabled:
            self._manager.set_blocked(name)
        try:
            for module in (*_own(), *modules):
                self._manager.register(module, module.__name__)
            if entry_points:
                self._manager.load_setuptools_entrypoints(ENTRY_POINTS)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ImportError) as error:
            raise PluginError(str(error)) from error

    def tunnels(self) -> Backends[TunnelContext, Tunnel]:
        """The WireGuard devices on offer."""
        return Backends("tunnel", self._offers("meshloom_tunnels"))

    def stores(self) -> Backends[StoreContext, Store]:
        """The stores on offer."""
        return Backends("store", self._offers("meshloom_stores"))

    def buses(self) -> Backends[BusContext, Bus]:
        """The buses on offer."""
        return Backends("bus", self._offers("meshloom_buses"))

    def kinds(self) -> dict[str, Backends[Any, Any]]:
        """The backends of every kind."""
        return {"tunnel": self.tunnels(), "store": self.stores(), "bus": self.buses()}

    def names(self) -> list[str]:
        """Names of the loaded plugins."""
        return sorted(name for name, module in self._manager.list_name_plugin() if module is not None)

    def _offers(self, hook: str) -> list[Backend[Any, Any]]:
        found: list[Backend[Any, Any]] = []
        for offers in getattr(self._manager.hook, hook)():
            for offer in offers:
                if not isinstance(offer, Backend):
                    raise PluginError(f"{hook}: {offer!r} is not a meshloom.Backend")
                found.append(offer)
        return found


def _own() -> tuple[ModuleType, ...]:
    from meshloom import local_bus, memory_store

    return local_bus, memory_store
