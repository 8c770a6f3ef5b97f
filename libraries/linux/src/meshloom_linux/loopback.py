"""A path that the agent carries itself, for a WireGuard outside this process: one loopback socket a peer.

WireGuard is told the socket's address as the peer's endpoint. What it sends there is read in bursts, straight behind
the header that the packet travels with; what the other side sent is written back from there. A packet that still comes
this way when the peer's endpoint is already another one is written by a raw socket as if it came from that endpoint:
WireGuard follows the source of what it receives, and would else return to the way that was just left.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshloom.errors import TunnelError
from meshloom.tunnel import Address, Carrier

_log = logging.getLogger(__name__)

LONGEST_PACKET = 9216
"""More than a relay's message can hold; what is longer arrives cut off and is refused there."""
BURST = 64
"""Packets that are read at once, before anything else has its turn."""
BUFFER = 4 << 20
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
HOST_4, HOST_6 = "127.0.0.1", "::1"
UDP, HEADER_4, HEADER_6 = struct.Struct("!HHHH"), struct.Struct("!BBHHHBBH4s4s"), struct.Struct("!IHBB16s16s")


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
        made.bind((HOST_4, 0))
        self.endpoint: Address = made.getsockname()
        self.follow(loopback.port)
        asyncio.get_running_loop().add_reader(made, self._read)

    def follow(self, port: int) -> None:
        """WireGuard's port is another one now; nobody else is heard."""
        if port:
            self._socket.connect((HOST_4, port))

    def deliver(self, packet: bytes | bytearray | memoryview, source: Address | None = None) -> None:
        """Hand WireGuard a packet of the peer."""
        if source is not None:
            self._loopback.forge(packet, source)
            return
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
            _log.debug("nothing can be read of WireGuard: %s", error)


class Loopback:
    """All carriers of one device."""

    def __init__(self) -> None:
        self.port = 0
        self._carriers: set[LoopbackCarrier] = set()
        self._raw: dict[int, socket.socket] = {}

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

    def forge(self, packet: bytes | bytearray | memoryview, source: Address) -> None:
        """Hand WireGuard a packet as if it came from *source*; lost where that cannot be."""
        address = ip_address(source[0])
        data = datagram(packet, address, source[1], self.port)
        try:
            self._raw_socket(address.version).sendto(data, (HOST_4 if address.version == 4 else HOST_6, 0))
        except OSError as error:
            _log.debug("a relayed packet was not delivered: %s", error)

    def close(self) -> None:
        """Close all."""
        for carrier in list(self._carriers):
            carrier.close()
        for made in self._raw.values():
            made.close()
        self._raw.clear()

    def _raw_socket(self, version: int) -> socket.socket:
        made = self._raw.get(version)
        if made is None:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            made = self._raw[version] = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            made.setblocking(False)
            size_buffers(made, BUFFER)
        return made


def datagram(
    packet: bytes | bytearray | memoryview, source: IPv4Address | IPv6Address, source_port: int, port: int
) -> bytes:
    """A UDP datagram with its IP header (RFC 791, RFC 8200) to *port* of this host itself."""
    length = UDP.size + len(packet)
    if isinstance(source, IPv4Address):
        # No UDP checksum (RFC 768): it never leaves this host. The IP header's length and checksum the kernel fills in.
        ip = HEADER_4.pack(0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, source.packed, IPv4Address(HOST_4).packed)
        return b"".join((ip, UDP.pack(source_port, port, length, 0), packet))
    here = IPv6Address(HOST_6).packed
    plain = UDP.pack(source_port, port, length, 0)
    pseudo = b"".join((source.packed, here, struct.pack("!IxxxB", length, socket.IPPROTO_UDP), plain, packet))
    ip = HEADER_6.pack(6 << 28, length, socket.IPPROTO_UDP, 64, source.packed, here)
    return b"".join((ip, UDP.pack(source_port, port, length, checksum(pseudo) or 0xFFFF), packet))


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    words = int.from_bytes(data + bytes(len(data) % 2))
    return 0xFFFF - (words % 0xFFFF or 0xFFFF) if any(data) else 0xFFFF


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
