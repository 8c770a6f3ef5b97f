"""The address at which others most likely reach this host, where nobody said it."""

import fcntl
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

_FAR: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses of documentation (RFC 5737, RFC 3849), which nobody has: the way there is the default route."""
_GET_ADDRESS: Final = 0x8915
"""SIOCGIFADDR, see netdevice(7)."""
_request = struct.Struct("16s24x")
LOOPBACK: Final = "127.0.0.1"


@lru_cache(maxsize=1)
def own_address() -> str:
    """Returns the address that packets to far hosts leave from, else an interface's; loopback where it is the only one.

    It stays the same while the process runs, since peers compare what they are told. No packet is sent.
    """
    return next(_candidates(), LOOPBACK)


def _candidates() -> Iterator[str]:
    for family, far in _FAR:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found = str(probe.getsockname()[0])
        except OSError:
            continue
        yield f"[{found}]" if family is socket.AF_INET6 else found
    for _, name in socket.if_nameindex():
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                answer = fcntl.ioctl(asked, _GET_ADDRESS, _request.pack(name.encode()))
        except OSError:  # it has none
            continue
        found = socket.inet_ntoa(answer[20:24])
        if not found.startswith("127."):
            yield found
