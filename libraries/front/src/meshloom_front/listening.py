"""Sockets that listen, and errors that name the address."""

import socket

from meshloom.errors import ConfigError
from meshloom.port_holder import why_not_bound


def parse_address(text: str, key: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``:port``.

    Raises:
        ConfigError: It is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF:
        raise ConfigError(f"{key} = {text!r}: no address; write host:port, such as 0.0.0.0:80 or [::]:80")
    return host.strip("[]"), int(port)


def check_address(text: str, key: str) -> None:
    """Looks whether this host has an address; its port is not touched, since a server may have it already.

    Raises:
        ConfigError: The address is wrong, or another host's.
    """
    parse_address(text, key)
    listen(f"{text.rpartition(':')[0]}:0", key, value=text).close()


def listen(text: str, key: str, kind: socket.SocketKind = socket.SOCK_STREAM, *, value: object = None) -> socket.socket:
    """A bound socket (for TCP: listening soon) at that address; an empty host is every address of both families.

    Args:
        text: The address.
        key: Of the configuration, for errors.
        kind: TCP or UDP.
        value: What the configuration says where it is not the address.

    Raises:
        ConfigError: The address is wrong, taken, or not allowed; names key and address.
    """
    host, port = parse_address(text, key)
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not host else 1)
        made.bind((host or "::", port))
    except OSError as error:
        made.close()
        if not host and family is socket.AF_INET6 and error.errno in (97, 99):  # no IPv6 here
            return listen(f"0.0.0.0:{port}", key, kind, value=value)
        said = text if value is None else value
        raise ConfigError(f"{key} = {said!r}: cannot listen there: {why_not_bound(error, host, port, kind)}") from error
    made.setblocking(False)
    return made
