"""Relays as the agent uses them: connections that are kept, and WireGuard's packets through them."""

from meshloom_agent.relays.early import EarlyHandshakes
from meshloom_agent.relays.links import NamedTransport, RelayLinks
from meshloom_agent.relays.relayed import RelayedPath
from meshloom_agent.relays.tokens import RelayTokens

__all__ = ["EarlyHandshakes", "NamedTransport", "RelayLinks", "RelayTokens", "RelayedPath"]
