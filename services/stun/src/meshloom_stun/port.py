"""One UDP socket of the service; answers leave from the address that was asked."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from meshloom.local_address import ANCILLARY_SPACE, ask_for_local, leaving_from, local_of, packed_for

LARGEST = 2048
"""Bytes of a datagram that are read: more than any binding request has."""
BATCH = 64
"""Datagrams that are read before others get their turn."""

Received = Callable[[bytes, tuple[Any, ...], bytes], None]


class Port:
    """Reads what comes, and sends at once or not at all; owns the socket.

    Args:
        received: Called with each datagram, its sender, and the address that it came to, packed as
            :mod:`meshloom.local_address` does; empty for a socket of one address.
    """

    def __init__(self, made: socket.socket, received: Received) -> None:
        self._socket, self._received = made, received
        self._loop = asyncio.get_running_loop()
        made.setblocking(False)
        ask_for_local(made)
        self._loop.add_reader(made.fileno(), self._read)

    def send(self, data: bytes, source: tuple[Any, ...], local: bytes = b"") -> None:
        """Sends an answer; what the kernel does not take is lost, as in the network."""
        with contextlib.suppress(OSError):
            self._socket.sendmsg((data,), leaving_from(local), 0, source)

    def destination(self, host: str, port: int) -> tuple[str, int]:
        """Returns an address as this socket names it."""
        mapped = ":" not in host and self._socket.family == socket.AF_INET6
        return (f"::ffff:{host}" if mapped else host), port

    def packed(self, host: str) -> bytes:
        """Returns an address of this host, packed for :meth:`send`."""
        return packed_for(self._socket, host)

    def close(self) -> None:
        """Leaves the loop, and closes the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = self._socket.recvmsg(LARGEST, ANCILLARY_SPACE)
            except OSError:  # nothing more, or what the network said of an earlier answer
                return
            self._received(data, source, local_of(ancillary))
