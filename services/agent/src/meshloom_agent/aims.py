"""Whether WireGuard sends each peer's packets where it should, and who led it elsewhere where it does not."""

from collections.abc import Mapping

import attrs

from meshloom.model.keys import PublicKey
from meshloom.tunnel import Address, PeerStats


@attrs.frozen
class Astray:
    """Peers whose packets go elsewhere.

    Attributes:
        changed: Those that something else has changed: WireGuard itself follows only what it receives.
        roamed: Those that WireGuard has followed, or that were never seen where they should be.
    """

    changed: frozenset[PublicKey]
    roamed: frozenset[PublicKey]


@attrs.define
class Aims:
    """Compares what the mesh wants with what is, and remembers what was received when they were last the same."""

    _right: dict[PublicKey, tuple[Address, int]] = attrs.field(factory=dict)

    def compare(self, wanted: Mapping[PublicKey, Address], found: Mapping[PublicKey, PeerStats]) -> Astray:
        """Returns the peers whose packets go elsewhere; it tells the same of them until they are put back.

        Args:
            wanted: Where packets are to go, of peers for which that is settled.
            found: What the device says now.
        """
        right: dict[PublicKey, tuple[Address, int]] = {}
        changed: set[PublicKey] = set()
        roamed: set[PublicKey] = set()
        for peer, address in wanted.items():
            if (stats := found.get(peer)) is None:
                continue
            if stats.endpoint == address:
                right[peer] = address, stats.rx_bytes
            elif stats.endpoint is None or self._right.get(peer) == (address, stats.rx_bytes):
                right[peer] = address, stats.rx_bytes
                changed.add(peer)
            else:
                roamed.add(peer)
        self._right = right
        return Astray(frozenset(changed), frozenset(roamed))

    def forget(self, peer: PublicKey) -> None:
        """It is being put back: until it is seen where it should be, nobody is blamed once more."""
        self._right.pop(peer, None)
