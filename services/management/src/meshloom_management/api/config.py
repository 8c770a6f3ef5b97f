"""What the HTTP API must know of the service's configuration."""

from collections.abc import Mapping

import attrs

_SETUP_TOKEN_VARIABLES = ("MESHLOOM_SETUP_PAT_ENABLED", "NB_SETUP_PAT_ENABLED")


@attrs.frozen
class ApiConfig:
    """Options of the HTTP API.

    Args:
        setup_tokens: Whether the first set-up may hand out a personal access token.
        dns_domain: Domain of the peers' names in accounts that set none.
        body_limit: Bytes of the largest body that is read.
        hash_memory: KiB of memory that hashing a password takes.
    """

    setup_tokens: bool = False
    dns_domain: str = "netbird.selfhosted"
    body_limit: int = 1024 * 1024
    hash_memory: int = 64 * 1024


def setup_tokens_enabled(environment: Mapping[str, str]) -> bool:
    """Whether the environment allows a token with the first set-up, by our variable or by NetBird's."""
    return any(environment.get(name, "").strip().lower() in {"1", "t", "true"} for name in _SETUP_TOKEN_VARIABLES)
