"""How people are shown what programs call otherwise: sizes, and what goes over the wire."""

from types import MappingProxyType
from typing import Final

WIRES: Final = MappingProxyType({"picows": "WebSocket", "websocket": "WebSocket", "ws": "WebSocket", "quic": "QUIC"})
"""What the transports speak, by the names of their backends and of the wire."""
_STEP: Final = 1024
_PRECISE_BELOW: Final = 10


def shown_transport(name: str) -> str:
    """Returns what a transport speaks; the name itself where that is not known."""
    return WIRES.get(name, name)


def shown_space(count: int) -> str:
    """Returns a number of bytes in the unit that fits, such as ``66 GiB``."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= _STEP and len(units) > 1:
        size /= _STEP
        units.pop(0)
    return f"{size:.1f} {units[0]}" if size < _PRECISE_BELOW and units[0] != "B" else f"{size:.0f} {units[0]}"
