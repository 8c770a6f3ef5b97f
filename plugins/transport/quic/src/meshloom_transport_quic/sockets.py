"""A UDP socket of the event loop that is read and written in batches."""

import asyncio
import contextlib
import errno
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable

from meshloom.local_address import ANCILLARY_SPACE, ask_for_local, leaving_from, local_of
from meshloom.log import BACKEND
from meshloom.transport import TransportContext

logger = logging.getLogger(__name__)

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[str, int, bytes] | tuple[str, int, int, int, bytes]
"""The other side's, as the socket names it; on a socket of all addresses, followed by the local one that it came to."""

LARGEST = 9216
"""Bytes of the largest datagram that is read whole: a jumbo frame's."""
BATCH = 64
"""Datagrams that are read before others get their turn."""
QUEUE = 1024
"""Datagrams that wait for the kernel; QUIC takes what is dropped for lost."""

_SO_RCVBUFFORCE, _SO_SNDBUFFORCE, _SO_MARK = 33, 32, 36
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_IP_RECVERR, _IPV6_RECVERR = 11, 25


class Port:
    """Batches in both directions; owns the socket's place in the loop, not the socket.

    Args:
        received: Called with each datagram, its sender and the loop's time.
        batch_ended: Called after some of them.
        failed: Called with what this host or the network says of the way to the other side; it may be forged.
        too_large: Called with the address to which a datagram was larger than the interface carries.
        answers: Whether it answers others: on a socket of all addresses, an address then holds the local one, too, from
            which answers leave.
    """

    def __init__(
        self,
        made: socket.socket,
        received: Callable[[bytes, Address, float], None],
        batch_ended: Callable[[], None],
        failed: Callable[[OSError], None],
        too_large: Callable[[Address], None],
        *,
        answers: bool = False,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._socket = made
        self._received, self._batch_ended = received, batch_ended
        self._failed, self._too_large = failed, too_large
        self._waiting: deque[tuple[bytes, Address]] = deque(maxlen=QUEUE)
        made.setblocking(False)
        self._receive: Callable[[int], tuple[bytes, Address]] = made.recvfrom
        self._send: Callable[[bytes, Address], object] = made.sendto
        if answers and ask_for_local(made):
            self._receive, self._send = self._receive_at, self._send_from
        self.loop.add_reader(made.fileno(), self._read)

    def send(self, data: bytes, address: Address) -> None:
        """Send now, or when the kernel has room."""
        if self._waiting:
            self._waiting.append((data, address))
            return
        try:
            self._send(data, address)
        except BlockingIOError:
            self._waiting.append((data, address))
            self.loop.add_writer(self._socket.fileno(), self._write)
        except OSError as error:
            self._not_sent(error, address)

    def close(self) -> None:
        """Leave the loop."""
        self.loop.remove_reader(self._socket.fileno())
        self.loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        now = self.loop.time()
        receive, received = self._receive, self._received
        try:
            for _ in range(BATCH):
                try:
                    data, address = receive(LARGEST)
                except BlockingIOError:
                    break
                except OSError as error:
                    self._forget_errors()
                    self._failed(error)
                    if self._socket.fileno() < 0:
                        return
                else:
                    received(data, address, now)
        finally:
            self._batch_ended()

    def _receive_at(self, size: int) -> tuple[bytes, Address]:
        data, ancillary, _, address = self._socket.recvmsg(size, ANCILLARY_SPACE)
        return data, (*address, local_of(ancillary))

    def _send_from(self, data: bytes, address: Address) -> object:
        return self._socket.sendmsg((data,), leaving_from(address[-1]), 0, address[:-1])

    def _write(self) -> None:
        while self._waiting:
            data, address = self._waiting[0]
            try:
                self._send(data, address)
            except BlockingIOError:
                return
            except OSError as error:
                self._not_sent(error, address)
            self._waiting.popleft()
        self.loop.remove_writer(self._socket.fileno())

    def _not_sent(self, error: OSError, address: Address) -> None:
        """What is not sent is lost, as in the network."""
        if error.errno == errno.EMSGSIZE:
            self._too_large(address)
        else:
            self._forget_errors()
            self._failed(error)

    def _forget_errors(self) -> None:
        """Empty the error queue, which would else keep the socket readable."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)


def prepare(made: socket.socket, context: TransportContext) -> None:
    """Size the buffers, and forbid fragments: a packet is as large as the path was found to carry."""
    names = (
        ("receive", "net.core.rmem_max", _SO_RCVBUFFORCE, socket.SO_RCVBUF),
        ("send", "net.core.wmem_max", _SO_SNDBUFFORCE, socket.SO_SNDBUF),
    )
    for what, limit, force, plain in names:
        try:
            made.setsockopt(socket.SOL_SOCKET, force, context.socket_buffer)
        except OSError:
            made.setsockopt(socket.SOL_SOCKET, plain, context.socket_buffer)
        got = made.getsockopt(socket.SOL_SOCKET, plain) // 2
        if got < context.socket_buffer:
            logger.warning(
                "the kernel's %s buffer for QUIC is %d bytes, %d are wanted: raise it with sysctl -w %s=%d",
                *(what, got, context.socket_buffer, limit, context.socket_buffer),
                extra={BACKEND: "quic"},
            )
    if context.fwmark:
        made.setsockopt(socket.SOL_SOCKET, _SO_MARK, context.fwmark)
    with contextlib.suppress(OSError):
        made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)


def hear_refusals(made: socket.socket) -> None:
    """Make the network's refusals errors of the next call, though the socket is bound to no other side."""
    made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, struct.pack("i", 1))
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, struct.pack("i", 1))
