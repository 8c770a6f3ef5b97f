"""A path that the agent carries itself, for a WireGuard outside this process: one loopback socket a peer.

WireGuard is told the socket's address as the peer's endpoint. What it sends there is read in bursts, straight behind
the header that the packet travels with; what the other side sent is written back from there.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from meshloom.errors import TunnelError, words_of
from meshloom.tunnel import Address, Carrier

_log = logging.getLogger(__name__)

LONGEST_PACKET = 9216
"""More than a relay's message can hold; what is longer arrives cut off and is refused there."""
BURST = 64
"""Packets that are read at once, before anything else has its turn."""
BUFFER = 4 << 20
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
HOST = "127.0.0.1"


class LoopbackCarrier(Carrier):
    """One peer's socket; made by :class:`Loopback`."""

    def __init__(self, loopback: "Loopback", prefix: bytes, send: Callable[[memoryview], object]) -> None:
        self._loopback, self._send = loopback, send
        self._buffer = bytearray(prefix) + bytearray(LONGEST_PACKET)
        self._view = memoryview(self._buffer)
        self._start = len(prefix)
        self._room = self._view[self._start :]
        made = self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        size_buffers(made, BUFFER)
        made.bind((HOST, 0))
        self.endpoint: Address = made.getsockname()
        self.follow(loopback.port)
        asyncio.get_running_loop().add_reader(made, self._read)

    def follow(self, port: int) -> None:
        """WireGuard's port is another one now; nobody else is heard."""
        if port:
            self._socket.connect((HOST, port))

    def deliver(self, packet: bytes | bytearray | memoryview) -> None:
        """Hand WireGuard a packet of the peer."""
        with contextlib.suppress(OSError):  # no room, or WireGuard is being restarted: lost, as datagrams are
            self._socket.send(packet)

    def close(self) -> None:
        """Carry no more."""
        if self._socket.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._loopback.forget(self)

    def _read(self) -> None:
        receive, room, view, start, send = self._socket.recv_into, self._room, self._view, self._start, self._send
        try:
            for _ in range(BURST):
                send(view[: start + receive(room)])
        except BlockingIOError:
            return
        except OSError as error:  # ECONNREFUSED: WireGuard was not there for what was delivered
            _log.debug("nothing can be read of WireGuard: %s", words_of(error))


class Loopback:
    """All carriers of one device."""

    def __init__(self) -> None:
        self.port = 0
        self._carriers: set[LoopbackCarrier] = set()

    def carry(self, send: Callable[[memoryview], object], prefix: bytes = b"") -> LoopbackCarrier:
        """A new path; see :meth:`meshloom.tunnel.Tunnel.carry`."""
        try:
            made = LoopbackCarrier(self, prefix, send)
        except OSError as error:
            raise TunnelError(f"no loopback socket can be had for a relayed path: {error.strerror}") from error
        self._carriers.add(made)
        return made

    def use(self, port: int) -> None:
        """WireGuard's UDP port."""
        self.port = port
        for carrier in self._carriers:
            carrier.follow(port)

    def forget(self, carrier: LoopbackCarrier) -> None:
        """It is closed."""
        self._carriers.discard(carrier)

    def close(self) -> None:
        """Close all."""
        for carrier in list(self._carriers):
            carrier.close()


def size_buffers(made: socket.socket, size: int) -> int:
    """Make the kernel's buffers of a socket that large, past its limits where root may; the smaller one it gave."""
    got = []
    for force, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            made.setsockopt(socket.SOL_SOCKET, force, size)
        except OSError:
            made.setsockopt(socket.SOL_SOCKET, plain, size)
        got.append(made.getsockopt(socket.SOL_SOCKET, plain) // 2)
    return min(got)
