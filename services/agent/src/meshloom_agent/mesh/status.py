"""What people are shown of a peer connection."""

import attrs

from meshloom.protocol.stun import Address


@attrs.frozen
class PathStatus:
    """One peer, as ``meshloom status`` shows it.

    Args:
        state: ``Idle``, ``Connecting`` or ``Connected``.
        since: When it became so.
        reason: While it is not connected: what is waited for or wrong, in words.
        latency: Round trip in seconds, 0 if unknown.
    """

    state: str
    since: float
    reason: str = ""
    local_kind: str = ""
    local_address: Address | None = None
    remote_kind: str = ""
    remote_address: Address | None = None
    latency: float = 0.0
