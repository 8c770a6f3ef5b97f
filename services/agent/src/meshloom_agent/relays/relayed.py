"""One peer's packets through a relay, both ways; what happens here happens for every packet."""

from collections.abc import Callable

from meshloom.protocol.relay import RelayPeerID, packet_head
from meshloom.transport import Connection
from meshloom.tunnel import Address, Carrier, Tunnel


class RelayedPath:
    """Between WireGuard and whichever connection reaches the peer now.

    Attributes:
        connection: None while no relay reaches the peer; its packets are lost then.
        late: Called for each packet that still comes this way while the direct path is in use; None otherwise.

    Args:
        too_long: Called with the size of each message that is longer than the connection carries.
    """

    def __init__(self, tunnel: Tunnel, peer: RelayPeerID, too_long: Callable[[int], None]) -> None:
        self.connection: Connection | None = None
        self.late: Callable[[], None] | None = None
        self._too_long = too_long
        self._tunnel, self._head = tunnel, packet_head(peer)
        self._carrier: Carrier | None = None

    @property
    def endpoint(self) -> Address:
        """What WireGuard is told."""
        return self._opened().endpoint

    def deliver(self, payload: bytes | memoryview) -> None:
        """A packet of the peer."""
        (self._carrier or self._opened()).deliver(payload)
        if self.late is not None:
            self.late()

    def send(self, message: memoryview) -> None:
        """A packet for the peer, its head in front."""
        connection = self.connection
        if connection is not None and not connection.send(message) and len(message) > connection.max_message_size > 0:
            self._too_long(len(message))

    def send_packet(self, packet: bytes) -> None:
        """A packet for the peer that did not come through WireGuard's socket."""
        self.send(memoryview(self._head + packet))

    def close(self) -> None:
        """No more packets."""
        self.connection = None
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None

    def _opened(self) -> Carrier:
        if self._carrier is None:
            self._carrier = self._tunnel.carry(self.send, self._head)
        return self._carrier
