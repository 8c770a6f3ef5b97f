"""Which program has a port of this host, for those who cannot have it."""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from meshloom.errors import words_of
from meshloom.text import printable

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
"""TCP_LISTEN in the fourth column of /proc/net/tcp, see proc_pid_net(5)."""
_ORDER: Final = sys.byteorder
_PRIVILEGED: Final = 1024
"""Ports below it are for root alone where the system says nothing else."""


def why_not_bound(error: OSError, host: str, port: int, kind: socket.SocketKind) -> str:
    """Returns why a socket could not have an address, with who has it, or who may.

    Args:
        error: What the system said.
        host: The address; empty for all.
        port: The port.
        kind: ``SOCK_STREAM`` for TCP, ``SOCK_DGRAM`` for UDP.
    """
    is_plain = (
        error.errno is not None and error.errno > 0
    )  # asyncio adds words of its own, and names have numbers below 0
    said = os.strerror(error.errno or 0) if is_plain else words_of(error)
    if error.errno == errno.EADDRINUSE and (holder := port_holder(host, port, kind)):
        return f"{said} by {holder}"
    if error.errno in (errno.EACCES, errno.EPERM) and 0 < port < _PRIVILEGED:
        return f"{said}: ports below {_PRIVILEGED} need root or the unit"
    return said


def port_holder(host: str, port: int, kind: socket.SocketKind) -> str:
    """Returns who has a port, such as ``turnserver (pid 36)``; empty where that cannot be found.

    Only root sees the programs of others.
    """
    table = "tcp" if kind is socket.SOCK_STREAM else "udp"
    inodes = {
        inode for name in (table, f"{table}6") for inode, address in _sockets(name, port) if _clashes(host, address)
    }
    for folder in _PROC.glob("[0-9]*") if inodes else ():
        if _has_one_of(folder, inodes):
            if folder.name == str(os.getpid()):
                return "this program itself, for another key"
            with contextlib.suppress(OSError):
                return f"{printable((folder / 'comm').read_text().strip())} (pid {folder.name})"
    return ""


def _sockets(table: str, port: int) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    """Yields inode and address of each socket of this network that has the port."""
    with contextlib.suppress(OSError):
        for line in (_PROC / "self/net" / table).read_text().splitlines()[1:]:
            columns = line.split()
            address, _, number = columns[1].partition(":")
            if int(number, 16) == port and (columns[3] == _LISTENING or not table.startswith("tcp")):
                yield columns[9], _address(address)


def _address(text: str) -> IPv4Address | IPv6Address:
    """Reads what the kernel writes: words of four bytes in the order of this processor."""
    words = [int(text[at : at + 8], 16).to_bytes(4, _ORDER) for at in range(0, len(text), 8)]
    return ip_address(b"".join(words))


def _clashes(host: str, other: IPv4Address | IPv6Address) -> bool:
    try:
        wanted = ip_address(host) if host else None
    except ValueError:
        return True  # a name: whichever has the port
    return wanted is None or wanted.is_unspecified or other.is_unspecified or wanted == other


def _has_one_of(folder: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for entry in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    return True
    return False
