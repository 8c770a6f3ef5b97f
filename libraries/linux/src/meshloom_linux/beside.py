"""What lives beside the port of a WireGuard outside this process: STUN on it, paths of the agent's own, a doorbell."""

from collections.abc import Callable

from meshloom.tunnel import Carrier, Doorbell
from meshloom_linux.doorbell import LoopbackDoorbell
from meshloom_linux.loopback import Loopback
from meshloom_linux.shared_port import RawSharedPort


class BesidePort:
    """All of it; :meth:`use` WireGuard's port as soon as it is known, and whenever it changes.

    Args:
        mark: Of what is sent to the network, 0 for none.

    Raises:
        TunnelError: Raw sockets are not allowed here.
    """

    def __init__(self, mark: int = 0) -> None:
        self.stun = RawSharedPort(mark)
        self._loopback = Loopback()
        self._doorbells: list[LoopbackDoorbell] = []
        self._port = 0

    def use(self, port: int) -> None:
        """WireGuard's UDP port."""
        self._port = port
        self.stun.use(port)
        self._loopback.use(port)
        for each in self._doorbells:
            each.use(port)

    def carry(self, send: Callable[[memoryview], object], prefix: bytes = b"") -> Carrier:
        """A loopback socket that WireGuard takes for a peer; see :meth:`meshloom.tunnel.Tunnel.carry`."""
        return self._loopback.carry(send, prefix)

    def doorbell(self, rung: Callable[[int, bytes], None]) -> Doorbell:
        """Loopback addresses that WireGuard takes for peers; see :meth:`meshloom.tunnel.Tunnel.doorbell`."""
        made = LoopbackDoorbell(rung)
        made.use(self._port)
        self._doorbells.append(made)
        return made

    def close(self) -> None:
        """End all of it."""
        self.stun.close()
        self._loopback.close()
        for each in self._doorbells:
            each.close()
