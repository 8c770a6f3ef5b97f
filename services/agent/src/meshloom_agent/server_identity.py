"""The key of each management server, kept from the first answer on; what else is shown at its address is refused.

A sealed answer proves that its sender holds the private half of the key that was shown. Over plain http nothing else
proves who it is, so a later key must be the same; over verified TLS the certificate proves it, and a new key is taken
over.
"""

import logging
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

from meshloom_agent.channel import ServerAddress
from meshloom_agent.files import KnownServer, StateDir, StateError
from meshloom_agent.management_errors import ServerKeyChanged

_log = logging.getLogger(__name__)

MOST_SERVERS = 64
"""Servers whose keys are kept; the one that was added first goes first."""
FIX = "if the server was set up again, accept it with: meshloom up --accept-server-key"
NEAR = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
"""Networks in which plain http does not cross the internet (RFC 1122, 1918, 6598, 3927, 4291, 4193)."""


class ServerKeys:
    """All keys that are known, in memory and, with *files*, on disk."""

    def __init__(self, files: StateDir | None = None) -> None:
        self._files = files
        self._known: dict[str, KnownServer] = files.servers() if files is not None else {}

    def at(self, address: ServerAddress, *, accept: bool = False) -> "ServerIdentity":
        """Returns the identity of the server at that address.

        Args:
            address: Where it is.
            accept: Whether the user accepts whatever key is shown there now.
        """
        return ServerIdentity(self, address, accept=accept)

    def known(self, url: str) -> KnownServer | None:
        """Returns what is kept of the server."""
        return self._known.get(url)

    def keep(self, url: str, server: KnownServer) -> None:
        """Keeps it from now on; a disk that cannot be written stops nothing."""
        self._known[url] = server
        while len(self._known) > MOST_SERVERS:
            del self._known[next(iter(self._known))]
        if self._files is None:
            return
        try:
            self._files.keep_servers(self._known)
        except StateError as error:
            _log.warning("%s: after a restart the server's key is not remembered", error)


class ServerIdentity:
    """One server, for one client of it."""

    def __init__(self, keys: ServerKeys, address: ServerAddress, *, accept: bool = False) -> None:
        self._keys, self._address, self._accepts = keys, address, accept

    def check(self, shown: KnownServer) -> None:
        """Checks what the server shows now against what is kept.

        Raises:
            ServerKeyChanged: It is another server, as far as can be proven.
        """
        known = self._keys.known(self._address.url)
        if known is None or self._accepts or self._address.tls:
            return
        if shown.key != known.key:
            raise ServerKeyChanged(
                f"management at {self._address.url} shows another key than before, so this may be somebody else; {FIX}"
            )
        if known.proves and not shown.proves:
            raise ServerKeyChanged(
                f"management at {self._address.url} no longer proves that its answers are fresh, so this may be"
                f" somebody else; {FIX}"
            )

    def confirm(self, shown: KnownServer) -> None:
        """Keeps what was shown, after an answer that was sealed with it."""
        known = self._keys.known(self._address.url)
        if shown == known:
            return
        if known is not None and known.key != shown.key:
            why = "accepted by the user" if self._accepts else "proven by its certificate"
            _log.warning("management at %s has another key than before (%s)", self._address.url, why)
        self._keys.keep(self._address.url, shown)


def plain_http_warning(address: ServerAddress, addresses: Iterable[IPv4Address | IPv6Address]) -> str:
    """Returns what to tell the user of a server that is reached without TLS; empty where that is fine.

    Args:
        address: Where the server is.
        addresses: The addresses of the host, as far as they are known.
    """
    found = list(addresses)
    if address.tls or (found and all(is_near(each) for each in found)):
        return ""
    return (
        f"{address.url} is reached without TLS over networks that others own: whoever is in between can see who is in"
        " the mesh and hold back changes; use https"
    )


def is_near(address: IPv4Address | IPv6Address) -> bool:
    """Tells whether the address is on this machine or in a private network."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any((mapped or address) in network for network in NEAR)
