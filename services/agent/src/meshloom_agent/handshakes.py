"""When WireGuard last shook hands with each peer, on the clock that never jumps."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import PeerStats


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
