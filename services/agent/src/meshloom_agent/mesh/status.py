"""What people are shown of a peer connection."""

from enum import StrEnum

import attrs

from meshloom.protocol.ice import Pair
from meshloom.protocol.stun import Address
from meshloom_agent.mesh.search import NO_DIRECT_PATH, span

LEFT = "it has left its relay"
"""Why a relayed path ended whose peer is not at its relay any more."""


class ConnectionState(StrEnum):
    """As shown to people, in the words that they know."""

    IDLE = "Idle"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"


@attrs.frozen
class PathStatus:
    """One peer, as ``meshloom status`` shows it.

    Args:
        state: ``Idle``, ``Connecting`` or ``Connected``.
        since: When it became so.
        reason: While it is not connected, or only through a relay: what is waited for or wrong, in words.
        latency: Round trip in seconds, 0 if unknown.
        is_relayed: The relay carries the packets.
        relay: URL of the relay that is used, or kept ready.
        last_seen: Since when the peer is away; None where it is not, or that is not known.
    """

    state: str
    since: float
    reason: str = ""
    local_kind: str = ""
    local_address: Address | None = None
    remote_kind: str = ""
    remote_address: Address | None = None
    latency: float = 0.0
    is_relayed: bool = False
    relay: str = ""
    last_seen: float | None = None


def with_absence(path: PathStatus, since: float | None, now: float) -> PathStatus:
    """Returns the status of a peer that is away since then; a path that works shows that it is not."""
    if since is None or path.state == ConnectionState.CONNECTED:
        return path
    return attrs.evolve(path, reason=f"offline; last seen {span(max(0.0, now - since))} ago", last_seen=since)


def connecting_status(since: float, reason: str, relay: str, relay_reason: str, now: float) -> PathStatus:
    """Of a peer that cannot be reached, with why the direct path and why the relay does not serve.

    One that has left its relay, too, is not there at all.
    """
    if relay_reason == LEFT:
        return with_absence(PathStatus(ConnectionState.CONNECTING, since, relay=relay), since, now)
    more = f"the relay {relay}: {relay_reason or 'not open yet'}" if relay else relay_reason or "a relay is needed"
    text = f"{reason}: {more}" if reason == NO_DIRECT_PATH or relay or relay_reason else reason
    return PathStatus(ConnectionState.CONNECTING, since, text, relay=relay)


def direct_status(state: str, since: float, pair: Pair | None, relay: str) -> PathStatus:
    """Of a peer whose packets go over a pair of candidates."""
    if pair is None or pair.local is None:
        return PathStatus(state, since, relay=relay)
    local, remote = pair.local, pair.remote
    return PathStatus(
        state,
        since,
        "",
        local.kind,
        local.address,
        remote.kind,
        remote.address,
        pair.round_trip,
        is_relayed=pair.is_relayed,
        relay=relay,
    )
