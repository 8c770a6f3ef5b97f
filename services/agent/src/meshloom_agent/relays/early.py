"""Handshakes that come through a relay before the way back is open.

The other side may hear of the relay before we do. WireGuard begins a handshake anew only after 5 s: the first is kept
for the moment in which it can be answered.
"""

from meshloom.protocol.relay import RelayPeerID

INITIATION = b"\1\0\0\0"
INITIATION_SIZE = 148
"""Bytes (WireGuard's paper, section 5.4.2)."""
MOST = 64
"""How many peers' handshakes are kept; then the oldest is lost."""


class EarlyHandshakes:
    """The last of each peer's, for :attr:`MOST` peers at the most."""

    def __init__(self) -> None:
        self._held: dict[RelayPeerID, bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, peer: RelayPeerID, packet: bytes | memoryview) -> bool:
        """Keep it if it begins a handshake, nothing else is worth it; whether it was kept."""
        if len(packet) != INITIATION_SIZE or packet[:4] != INITIATION:
            return False
        self._held.pop(peer, None)
        if len(self._held) >= MOST:
            del self._held[next(iter(self._held))]
        self._held[peer] = bytes(packet)
        return True

    def release(self, peer: RelayPeerID) -> bytes | None:
        """Take it out."""
        return self._held.pop(peer, None)
