"""Answers of a UDP socket of all addresses leave from the address that was asked (IP_PKTINFO, RFC 3542 section 6).

Without it the kernel picks the address by the route back, and a host with several answers from one that nobody asked:
clients, NATs and firewalls drop that.
"""

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

ANCILLARY_SPACE = socket.CMSG_SPACE(20)
"""Bytes for what the kernel tells of one datagram."""

Ancillary = list[tuple[int, int, bytes]]

_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO
_EVERYWHERE = ("", "0.0.0.0", "::")


def ask_for_local(made: socket.socket) -> bool:
    """Makes the kernel tell to which address each datagram came; False for a socket of one address, which needs it not.

    A socket of both families tells IPv4 addresses mapped, and takes them so.
    """
    if made.family not in (socket.AF_INET, socket.AF_INET6) or made.getsockname()[0] not in _EVERYWHERE:
        return False
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return True


def local_of(ancillary: Ancillary) -> bytes:
    """Returns the address to which a datagram came, packed as that socket takes it; empty where it was not told."""
    for level, kind, data in ancillary:
        if kind == _IPV6_PKTINFO and level == socket.IPPROTO_IPV6:
            return data[:16]
        if kind == _IP_PKTINFO and level == socket.IPPROTO_IP:
            return data[4:8]
    return b""


@lru_cache(maxsize=256)
def leaving_from(local: bytes) -> Ancillary:
    """Returns what ``sendmsg`` is given so that a datagram leaves from that address; nothing for an empty one."""
    if len(local) == 16:
        return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, local + bytes(4))]
    if local:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + local + bytes(4))]
    return []


def packed_for(made: socket.socket, host: str) -> bytes:
    """Returns an address as the socket takes it: mapped for IPv4 on a socket of both families."""
    if ":" in host:
        return IPv6Address(host.partition("%")[0]).packed
    packed = IPv4Address(host).packed
    return bytes(10) + b"\xff\xff" + packed if made.family == socket.AF_INET6 else packed


def named(local: bytes) -> str:
    """Returns a packed address as text; one of IPv4 without its mapping."""
    if len(local) == 4:
        return str(IPv4Address(local))
    address = IPv6Address(local)
    return str(address.ipv4_mapped or address)
