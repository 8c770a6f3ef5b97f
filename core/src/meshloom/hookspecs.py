"""Every hook, typed: the reference of the extension surface.

An *offer* hook returns descriptors, one for each backend; core gathers, names, probes and opens them. It is called once
a process, before the configuration is read: import operating-system libraries inside ``open``, not beside the hook.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from meshloom.backend import Backend
    from meshloom.bus import Bus, BusContext
    from meshloom.store import Store, StoreContext
    from meshloom.transport import Transport, TransportContext
    from meshloom.tunnel import Tunnel, TunnelContext

PROJECT = "meshloom"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def meshloom_tunnels() -> "Iterable[Backend[TunnelContext, Tunnel]]":  # type: ignore[empty-body]
    """Offer tunnel backends: who owns the WireGuard device (contract: :class:`meshloom.tunnel.Tunnel`)."""


@hookspec
def meshloom_stores() -> "Iterable[Backend[StoreContext, Store]]":  # type: ignore[empty-body]
    """Offer store backends: where accounts are kept (contract: :class:`meshloom.store.Store`)."""


@hookspec
def meshloom_buses() -> "Iterable[Backend[BusContext, Bus]]":  # type: ignore[empty-body]
    """Offer bus backends: how instances of one service tell each other (contract: :class:`meshloom.bus.Bus`)."""


@hookspec
def meshloom_transports() -> "Iterable[Backend[TransportContext, Transport]]":  # type: ignore[empty-body]
    """Offer transport backends: what carries relay messages (contract: :class:`meshloom.transport.Transport`)."""
