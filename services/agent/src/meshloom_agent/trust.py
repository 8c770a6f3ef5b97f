"""Bounds on what management may make this machine do: which overlay, whose addresses, how many of everything.

A management server that was taken over, or one on a network that is, must not turn a machine's own addresses, its
router or half of the internet into the mesh's. What is refused is said in ``status``, and the rest of the map is used.
"""

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from typing import Final

import attrs

from meshloom.errors import MeshError
from meshloom.model.overlay import IPAddress, IPNetwork, objection
from meshloom.text import printable

IPInterface = IPv4Interface | IPv6Interface

MOST_PEERS: Final = 10_000
MOST_SERVERS: Final = 32
"""Relays, STUN servers and TURN servers that are used, of each kind."""
LONGEST_NAME: Final = 255
"""Characters of a name of the DNS (RFC 1035 section 2.3.4)."""
LONGEST_VERSION: Final = 64
MOST_TOLD: Final = 20
"""Refusals of one kind that are told one by one."""
MAX_PORT: Final = 0xFFFF
_LABELS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


class MapRefused(MeshError):
    """What management says of this machine's own addresses cannot be believed."""


class Refusals:
    """What was refused of one message, each in words that are fit to be shown; bounded."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._more = 0

    def add(self, text: str) -> None:
        """Notes one."""
        if len(self._told) < MOST_TOLD:
            self._told.append(printable(text))
        else:
            self._more += 1

    @property
    def told(self) -> tuple[str, ...]:
        """All of them; those beyond the bound are counted."""
        return (*self._told, f"and {self._more} more") if self._more else tuple(self._told)


@attrs.frozen
class Surroundings:
    """Addresses that the mesh must leave alone.

    Args:
        management: Those of the management server.
        gateway: This host's router, where it is known.
        link: The network that the router is reached in, where it is known.
        servers: Other servers that are in use by their addresses, each with its kind.
    """

    management: frozenset[IPAddress] = frozenset()
    gateway: IPAddress | None = None
    servers: Mapping[IPAddress, str] = attrs.field(factory=dict)
    link: IPNetwork | None = None


def check_overlay(addresses: Collection[IPInterface], around: Surroundings) -> None:
    """Checks the addresses that this machine shall have.

    Raises:
        MapRefused: One is in a network that may not be a mesh's.
    """
    for address in addresses:
        network = address.network
        servers = dict.fromkeys(around.management, "management")
        servers |= {server: f"the {kind} server" for server, kind in around.servers.items() if server not in servers}
        router, link = around.gateway, around.link
        if router is not None and link is not None and router in network and network.prefixlen >= link.prefixlen:
            servers[router] = "this host's router"
        if why := objection(network, servers):
            raise MapRefused(f"the overlay {network} is refused: {why}")


class AllowedAddresses:
    """Gives each peer the addresses that are its own: within the overlay, and nobody else's.

    Args:
        own: This machine's addresses in the mesh.
    """

    def __init__(self, own: Collection[IPInterface], around: Surroundings) -> None:
        self._networks = [each.network for each in own]
        self._taken: dict[IPAddress, str] = {each.ip: "this machine" for each in own}
        if around.gateway is not None:
            self._taken.setdefault(around.gateway, "this host's router")

    def of(self, name: str, networks: Collection[IPNetwork], refusals: Refusals) -> tuple[IPNetwork, ...]:
        """Returns those of *networks* that the peer may have; the others are noted."""
        found = []
        for network in networks:
            address = network.network_address
            if network.prefixlen != network.max_prefixlen:
                refusals.add(f"{network} of {name} is not used: it is not a single address")
            elif not any(address in overlay for overlay in self._networks):
                refusals.add(f"{network} of {name} is not used: it is outside the overlay")
            elif (holder := self._taken.get(address)) is not None:
                refusals.add(f"{network} of {name} is not used: it belongs to {holder}")
            elif network not in found:
                found.append(network)
        self._taken.update((network.network_address, name) for network in found)
        return tuple(found)


def shown_name(name: str, refusals: Refusals, whose: str) -> str:
    """Returns a name fit to be shown; one that was not is noted."""
    shown = printable(name, LONGEST_NAME)
    if shown != name:
        refusals.add(f"the name of {whose} holds what cannot be shown: it is written {shown}")
    return shown


def host_and_port(text: str) -> tuple[str, int] | None:
    """Parts ``host:port``, with brackets around an IPv6 address; None where it is anything else.

    Strict, as others would take more for a target: gRPC a socket's file, a resolver names with control characters.
    """
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or not 0 < int(port) <= MAX_PORT:
        return None
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(IPv6Address(host[1:-1])), int(port)
        except ValueError:
            return None
    try:
        encoded = host.encode("idna").decode()
    except UnicodeError:
        return None
    return (host, int(port)) if _LABELS.fullmatch(encoded) and host.isprintable() else None
