"""When WireGuard last shook hands with each peer, on the clock that never jumps."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import PeerStats
from meshloom_agent.mesh.search import span
from meshloom_agent.mesh.status import ConnectionState, PathStatus

RENEWED_WITHIN = 210.0
"""Seconds in which WireGuard renews a handshake that is used (its own time is 180 s)."""
SOON = 10.0
"""Seconds in which a first handshake may be lost and made again."""
NO_HANDSHAKE = "a path works, but WireGuard has not shaken hands over it"


@attrs.define
class Handshakes:
    """Devices tell dates; whoever sets the machine's clock must not take connections down with it.

    Args:
        new: How many handshakes the last observation found that were not there before.
    """

    new: int = attrs.field(default=0, init=False)
    _seen: dict[PublicKey, tuple[datetime, float]] = attrs.field(factory=dict)

    def observe(
        self, stats: Mapping[PublicKey, PeerStats], date: datetime, now: float
    ) -> dict[PublicKey, float | None]:
        """The moment of each peer's last handshake; a date that is not the one seen before means a new one.

        Args:
            stats: What the device tells.
            date: The present, as the machine's clock says.
            now: The present of the clock that never jumps.
        """
        moments: dict[PublicKey, float | None] = {}
        seen: dict[PublicKey, tuple[datetime, float]] = {}
        for key, each in stats.items():
            latest = each.latest_handshake
            if latest is None:
                moments[key] = None
                continue
            before = self._seen.get(key)
            if before is not None and before[0] == latest:
                seen[key] = before
            elif before is not None:
                seen[key] = latest, now
            else:
                seen[key] = latest, now - max(0.0, (date - latest).total_seconds())
            moments[key] = seen[key][1]
        self.new = sum(self._seen.get(key, (None,))[0] != found for key, (found, _) in seen.items())
        self._seen = seen
        return moments

    def latest(self, peer: PublicKey) -> float | None:
        """Returns the moment of the peer's last handshake as it was observed last; None for none."""
        seen = self._seen.get(peer)
        return seen[1] if seen is not None else None


def with_handshake(path: PathStatus, latest: float | None, now: float) -> PathStatus:
    """Returns what a person is told of a peer: it is connected only where WireGuard shook hands with it lately, too.

    Args:
        path: What is known of the path.
        latest: When WireGuard last shook hands with the peer; None for never.
        now: The present on the same clock.
    """
    if path.state != ConnectionState.CONNECTED or (latest is not None and now - latest <= RENEWED_WITHIN):
        return path
    if latest is not None:
        reason = f"{NO_HANDSHAKE} for {span(now - latest)}"
    elif now - path.since <= SOON:
        reason = "waiting for WireGuard's handshake"
    else:
        reason = f"{NO_HANDSHAKE} yet: both need the same --preshared-key, or none"
    return attrs.evolve(path, state=ConnectionState.CONNECTING, reason=reason)
