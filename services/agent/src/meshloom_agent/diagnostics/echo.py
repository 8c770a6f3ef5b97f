"""Echo requests (RFC 792, RFC 4443 section 4), built and read here, so that no other program is needed."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import attrs

from meshloom.errors import MeshError
from meshloom.tunnel import IPAddress

REQUEST_V4, REPLY_V4 = 8, 0
REQUEST_V6, REPLY_V6 = 128, 129
TOKEN = 16
"""Random bytes in each request, by which its reply is known."""


class EchoError(MeshError):
    """No echo requests can be sent from here."""


def echo_request(version: int, sequence: int, token: bytes, identifier: int = 0) -> bytes:
    """A message to send; the kernel fills in IPv6's checksum, and the identifier where the socket is no raw one."""
    kind = REQUEST_V4 if version == 4 else REQUEST_V6
    data = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence & 0xFFFF) + token
    if version == 6:
        return data
    return data[:2] + _checksum(data).to_bytes(2) + data[4:]


def is_reply(version: int, data: bytes, sequence: int, token: bytes) -> bool:
    """Whether the message answers that request; *data* of a raw IPv4 socket begins with the packet's header."""
    if version == 4 and data and data[0] >> 4 == 4:
        data = data[(data[0] & 0xF) * 4 :]
    if len(data) < 8 + len(token) or data[0] != (REPLY_V4 if version == 4 else REPLY_V6) or data[1]:
        return False
    return int.from_bytes(data[6:8]) == sequence & 0xFFFF and data[8 : 8 + len(token)] == token


@attrs.frozen
class Echo:
    """Asks one address."""

    address: IPAddress
    _socket: socket.socket

    async def ask(self, sequence: int, within: float) -> float | None:
        """The round trip in seconds; None where there is no reply in time, or nothing leads there."""
        token, version = os.urandom(TOKEN), self.address.version
        began = anyio.current_time()
        try:
            self._socket.sendto(echo_request(version, sequence, token, os.getpid() & 0xFFFF), (str(self.address), 0))
        except OSError:  # no route, no key yet: WireGuard says so by an error of the socket
            await anyio.sleep(within)
            return None
        with anyio.move_on_after(within):
            while True:
                await anyio.wait_readable(self._socket)
                try:
                    data = self._socket.recv(2048)
                except OSError:
                    continue  # an ICMP error about an earlier request
                if is_reply(version, data, sequence, token):
                    return anyio.current_time() - began
        return None


@contextmanager
def open_echo(address: IPAddress) -> Iterator[Echo]:
    """A socket for echo requests: the kernel's own kind where users may have it, else a raw one.

    Raises:
        EchoError: Neither is allowed.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if address.version == 4 else socket.IPPROTO_ICMPV6
    made = None
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            made = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            break
        except OSError:
            continue
    if made is None:
        raise EchoError("echo requests cannot be sent: run the daemon as root, or with CAP_NET_RAW")
    with made:
        yield Echo(address, made)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
