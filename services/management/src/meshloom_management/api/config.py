"""What the HTTP API must know of the service's configuration."""

from collections.abc import Mapping

import attrs

from meshloom_management.operations.setup import HASH_MEMORY
from meshloom_management.operations.setup_secret import SetupSecret

_OPEN_VARIABLES = ("MESHLOOM_SETUP_PAT_ENABLED", "NB_SETUP_PAT_ENABLED")


@attrs.frozen(kw_only=True)
class ApiConfig:
    """Options of the HTTP API.

    Args:
        setup_secret: What the first set-up must show; None where it is open to everybody, as NetBird's is.
        url: Where people reach the server; pages of another origin may not set it up.
        servers: What machines must reach beside the mesh, by name or address; no range of the mesh may contain it.
        dns_domain: Domain of the peers' names in accounts that set none.
        body_limit: Bytes of the largest body that is read.
        public_body_limit: The same for callers who need no token.
        hash_memory: KiB of memory that hashing a password takes.
    """

    setup_secret: SetupSecret | None
    url: str = ""
    servers: Mapping[str, str] = attrs.field(factory=dict)
    dns_domain: str = "netbird.selfhosted"
    body_limit: int = 1024 * 1024
    public_body_limit: int = 16 * 1024
    hash_memory: int = HASH_MEMORY


def setup_is_open(environment: Mapping[str, str]) -> bool:
    """Whether the environment opens the first set-up to everybody, by our variable or by NetBird's."""
    return any(environment.get(name, "").strip().lower() in {"1", "t", "true"} for name in _OPEN_VARIABLES)
