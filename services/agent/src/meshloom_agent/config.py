"""What the daemon can be told by its configuration file; what users say with ``up`` is kept by the daemon itself."""

import attrs

from meshloom.config import key
from meshloom.log_levels import LISTED

KINDS = ("tunnel", "transport")


@attrs.frozen
class AgentConfig:
    """Keys of the agent's daemon, besides those of the tunnel's backends."""

    log_level: str = key(default="info", help=f"{LISTED}.")
    metrics: str = key(
        default="", help="Address of the metrics for Prometheus, such as 127.0.0.1:9091; empty for none."
    )
    extra_roots: str = key(default="", help="File of certificates (PEM) trusted besides the system's.")
    proxy: str = key(
        default="", help="URL of an HTTP proxy to reach relays through; the environment's (HTTPS_PROXY) where empty."
    )
    port_mapping: bool = key(
        default=True, help="Whether the router may be asked to hand WireGuard's port on to this machine."
    )
    socket_group: str = key(default="", help="Group whose members may use the daemon's socket besides root.")
