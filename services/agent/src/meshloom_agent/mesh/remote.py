"""A peer as the network map has it."""

from ipaddress import IPv4Network, IPv6Network

import attrs

IPNetwork = IPv4Network | IPv6Network


@attrs.frozen
class RemotePeer:
    """A peer of the network map."""

    allowed_ips: tuple[IPNetwork, ...]
    fqdn: str = ""
    version: str = ""
