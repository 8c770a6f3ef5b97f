"""STUN on the UDP port of a WireGuard outside this process: raw sockets that see only the port's STUN messages.

A filter in the kernel (classic BPF) lets through datagrams to the port with STUN's magic cookie; WireGuard gets its
copy of them, too, and drops it. Sending puts an own UDP header in front, with WireGuard's port as the source.
"""

import asyncio
import ctypes
import logging
import socket
import struct
from collections import deque

from meshloom.errors import TunnelError, words_of
from meshloom.tunnel import Address, SharedPort

_log = logging.getLogger(__name__)

COOKIE = 0x2112A442
SO_ATTACH_FILTER = 26
SO_MARK = 36
IPV6_CHECKSUM = 7
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
"""Never fragmented, whatever the kernel believes of the path: a probe of its size tells the truth."""
QUEUE = 1024
LONGEST = 1500
UDP_HEADER = struct.Struct("!HHHH")

# Opcodes of classic BPF (linux/filter.h): load X with an IPv4 header's length; load half or word; compare; return.
LDX_HEADER, LDH_X, LDW_X, LDH, LDW, JEQ, RET = 0xB1, 0x48, 0x40, 0x28, 0x20, 0x15, 0x06


def stun_filter(port: int, family: socket.AddressFamily) -> list[tuple[int, int, int, int]]:
    """Instructions that keep datagrams to *port* with the cookie; IPv4 ones still have their IP header in front."""
    four = family is socket.AF_INET
    return [
        *([(LDX_HEADER, 0, 0, 0)] if four else []),
        (LDH_X if four else LDH, 0, 0, 2),
        (JEQ, 0, 3, port),
        (LDW_X if four else LDW, 0, 0, 12),
        (JEQ, 0, 1, COOKIE),
        (RET, 0, 0, 0xFFFF),
        (RET, 0, 0, 0),
    ]


def attach_filter(made: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    """Replace the socket's filter at once."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))


class RawSharedPort(SharedPort):
    """The STUN messages of WireGuard's port; set the port with :meth:`use` before.

    Raises:
        TunnelError: Raw sockets are not allowed here.
    """

    def __init__(self, mark: int = 0) -> None:
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._port = 0
        self._waiting: deque[tuple[bytes, Address]] = deque(maxlen=QUEUE)
        self._news = asyncio.Event()
        self._closed = False
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                made = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
            except PermissionError as error:
                raise TunnelError("raw sockets are not allowed: run as root or with CAP_NET_RAW") from error
            except OSError:
                if family is socket.AF_INET:
                    raise
                continue
            attach_filter(made, [(RET, 0, 0, 0)])
            made.setblocking(False)
            if mark:
                made.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            if family is socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 6)
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
            else:
                made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
            self._sockets[family] = made
            asyncio.get_running_loop().add_reader(made, self._read, made, family)

    @property
    def has_ipv6(self) -> bool:
        """Whether it also sends and receives over IPv6."""
        return socket.AF_INET6 in self._sockets

    def use(self, port: int) -> None:
        """Be the companion of that UDP port from now on."""
        if port == self._port:
            return
        self._port = port
        for family, made in self._sockets.items():
            attach_filter(made, stun_filter(port, family))

    def send(self, data: bytes, destination: Address) -> None:
        """Send from WireGuard's port; what cannot be sent is lost."""
        host, port = destination
        made = self._sockets.get(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if made is None or not self._port or self._closed:
            return
        # Without a checksum over IPv4, as RFC 768 allows: the source address is the kernel's choice. IPv6's is its own.
        header = UDP_HEADER.pack(self._port, port, UDP_HEADER.size + len(data), 0)
        try:
            made.sendto(header + data, (host, 0))
        except OSError as error:
            _log.debug("a STUN message was not sent: %s", words_of(error))

    async def receive(self) -> tuple[bytes, Address]:
        """The next datagram and its source."""
        while not self._waiting:
            if self._closed:
                raise TunnelError("the shared port is closed")
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Wake the reader, for the last time."""
        self._closed = True
        self._news.set()
        for made in self._sockets.values():
            asyncio.get_running_loop().remove_reader(made)
            made.close()

    def _read(self, made: socket.socket, family: socket.AddressFamily) -> None:
        for _ in range(64):
            try:
                packet, source = made.recvfrom(LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                _log.debug("a STUN message was not received: %s", words_of(error))
                return
            start = (packet[0] & 15) * 4 if family is socket.AF_INET and packet else 0
            if len(packet) < start + UDP_HEADER.size:
                continue
            source_port = int.from_bytes(packet[start : start + 2])
            host = source[0].partition("%")[0]
            self._waiting.append((packet[start + UDP_HEADER.size :], (host, source_port)))
            self._news.set()
