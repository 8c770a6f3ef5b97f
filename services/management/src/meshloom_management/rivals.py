"""Two machines with one key: their streams replace each other again and again, which is said once an hour."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from meshloom.log import PEER
from meshloom.model.ids import PeerID

_log = logging.getLogger(__name__)

REPLACED: Final = "another connection with the key of this machine has taken the place of this one"
"""How the status begins with which a stream ends that another one replaces."""
MANY: Final = 3
WITHIN: Final = 120.0
"""Replaced streams of one peer in so many seconds that speak for two machines: one that reconnects makes fewer."""
SAID_EVERY: Final = 3600.0
MOST: Final = 4096
"""Peers that are remembered; of more the one that was replaced longest ago is forgotten."""


@attrs.define
class _Peer:
    since: float
    count: int = 0
    said: float = float("-inf")


class Rivals:
    """Counts replaced streams of each peer.

    Args:
        clock: Seconds, monotone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._peers: OrderedDict[PeerID, _Peer] = OrderedDict()

    def replaced(self, peer: PeerID, name: str, old: str, new: str) -> None:
        """Notes that a stream from one address has taken the place of one from another, or the same, address."""
        now = self._clock()
        known = self._peers.setdefault(peer, _Peer(now))
        self._peers.move_to_end(peer)
        if len(self._peers) > MOST:
            self._peers.popitem(last=False)
        if now - known.since > WITHIN:
            known.since, known.count = now, 0
        known.count += 1
        if known.count >= MANY and now - known.said >= SAID_EVERY:
            known.said = now
            where = f"from {new}" if old == new else f"from {old} and from {new}"
            _log.warning(
                "two machines seem to use the key of %s, as after cloning a disk: their connections %s take each"
                " other's place; on the copy, delete private.key in the daemon's folder and run meshloom logout"
                " --local, then meshloom up --setup-key KEY",
                name,
                where,
                extra={PEER: peer},
            )
