"""Endpoints of peers that have no path yet, for a WireGuard outside this process: one socket for all of them.

The whole of 127.0.0.0/8 is this host, so that each peer has an address of its own without costing anything; which of
them a packet went to is told with it (ip(7), IP_PKTINFO).
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from meshloom.errors import TunnelError, words_of
from meshloom.tunnel import Address, Doorbell

_log = logging.getLogger(__name__)

FIRST = int.from_bytes(bytes((127, 64, 0, 0)))
"""The first peer's address; those below belong to programs that picked one by hand."""
MOST = 1 << 22
LONGEST_PACKET = 9216
IP_PKTINFO = 8
BURST = 64


class LoopbackDoorbell(Doorbell):
    """The socket; hears only what this host sends itself.

    Args:
        rung: Called with a peer's number and WireGuard's packet for it.

    Raises:
        TunnelError: There can be no such socket.
    """

    def __init__(self, rung: Callable[[int, bytes], None]) -> None:
        self._rung = rung
        self._wireguard = 0
        made = self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            made.bind(("", 0))
        except OSError as error:
            made.close()
            raise TunnelError(f"idle peers cannot be waited for: {error.strerror}; run as root") from error
        self._port = made.getsockname()[1]
        asyncio.get_running_loop().add_reader(made, self._read)

    def use(self, port: int) -> None:
        """WireGuard's UDP port: nobody else rings."""
        self._wireguard = port

    def endpoint(self, number: int) -> Address:
        """The address of the peer with that number."""
        if not 0 <= number < MOST:
            raise ValueError(f"a peer's number is below {MOST}, not {number}")
        return socket.inet_ntoa((FIRST + number).to_bytes(4)), self._port

    def close(self) -> None:
        """Ring no more."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _read(self) -> None:
        for _ in range(BURST):
            try:
                packet, ancillary, _, source = self._socket.recvmsg(LONGEST_PACKET, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            except OSError as error:
                _log.debug("the doorbell cannot be read: %s", words_of(error))
                return
            for level, kind, data in ancillary:
                if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO) and source[1] == self._wireguard:
                    number = int.from_bytes(data[8:12]) - FIRST
                    if 0 <= number < MOST:
                        self._rung(number, packet)
