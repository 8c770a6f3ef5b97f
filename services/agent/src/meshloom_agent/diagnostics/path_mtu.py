"""The largest datagram that gets through unfragmented to a STUN server: asked by requests of many sizes at once."""

import os
import socket

import anyio
import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.stun import HEADER, MAX_MESSAGE, Attribute, Kind, encode, parse

SEND_AT = (0.0, 0.3, 0.6)
WITHIN = 3.0
PROBE = 3
"""IP_PMTUDISC_PROBE of ip(7): do not fragment, and believe no earlier announcement."""
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
LOWEST = 548
"""What every IPv4 host takes in one piece, less the headers (RFC 791 section 3.1)."""


@attrs.frozen
class PathMtu:
    """What was found out.

    Args:
        wanted: Bytes of UDP payload that were to get through.
        largest: The most that did; 0 where nothing was answered.
    """

    wanted: int
    largest: int


def padded_request(transaction: bytes, size: int) -> bytes:
    """A binding request of exactly *size* bytes, a multiple of 4 of at least 40."""
    return encode(Kind.REQUEST, transaction, [(Attribute.SOFTWARE, b"meshloom".ljust(size - HEADER - 12))])


def sizes(wanted: int) -> list[int]:
    """Sizes to try, the wanted one among them."""
    top = min(wanted, MAX_MESSAGE) // 4 * 4
    steps = {top, *(size for size in (1392, 1352, 1312, 1252, 1152, 1052, 952, LOWEST) if size < top)}
    return sorted(steps, reverse=True)


async def probe(host: str, port: int, wanted: int) -> PathMtu:
    """Ask; takes some seconds where something is missing."""
    asked = {os.urandom(12): size for size in sizes(wanted)}
    answered: set[int] = set()
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        address = str(found[0][4][0])
        async with await anyio.create_connected_udp_socket(address, port) as asking:
            raw = asking.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610
            if raw.family == socket.AF_INET6:
                raw.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PROBE)
            else:
                raw.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PROBE)
            await _ask(asking, asked, answered)
    except OSError:
        pass  # whatever was answered before
    return PathMtu(max(asked.values()), max(answered, default=0))


async def _ask(asking: anyio.abc.ConnectedUDPSocket, asked: dict[bytes, int], answered: set[int]) -> None:
    async def send() -> None:
        for number, at in enumerate(SEND_AT):
            await anyio.sleep(at - (SEND_AT[number - 1] if number else 0.0))
            for transaction, size in asked.items():
                if size not in answered:
                    try:
                        await asking.send(padded_request(transaction, size))
                    except OSError:
                        continue  # larger than the interface takes

    with anyio.move_on_after(WITHIN):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            async for data in asking:
                try:
                    answered.add(asked.get(parse(data).transaction, 0))
                except ProtocolError:
                    continue
                if max(asked.values()) in answered:
                    tasks.cancel_scope.cancel()
