"""What a router does with addresses: the behaviours of RFC 4787."""

from enum import StrEnum

import attrs


class Mapping(StrEnum):
    """For which destinations an inner address and port keep the same outer ones (section 4.1)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Filtering(StrEnum):
    """From whom a datagram to a mapping is let in: from all, or from those sent to before (section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


@attrs.frozen
class Nat:
    """How a router translates and filters.

    Args:
        hairpin: Whether inner hosts reach each other by their outer addresses (section 6).
        timeout: Seconds after the last datagram going out until mapping and filter are forgotten (section 4.3).
        preserves_port: Whether the outer port is the inner one where that is free (section 4.2.1).
        translates: False for a plain firewall, which only filters (and the only thing done to IPv6).
        blocks_udp: Nothing passes.
    """

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    hairpin: bool = True
    timeout: float = 120.0
    preserves_port: bool = False
    translates: bool = True
    blocks_udp: bool = False


BEHAVIOURS: tuple[Nat, ...] = tuple(Nat(mapping, filtering) for mapping in Mapping for filtering in Filtering)
"""Each mapping with each filtering."""


def can_be_direct(one: Nat, other: Nat) -> bool:
    """Whether two hosts behind different routers can ever reach each other's UDP ports without a relay.

    By reasoning, not by trying: a path is a pair of outer addresses, each the one that its router maps packets to the
    other to. Behind endpoint-independent mapping that address is known beforehand. Otherwise it shows only when a
    packet gets through, which a filter by port never lets happen; and where both sides' addresses depend on the other's
    port, each answer comes from an address yet unknown.
    """
    if one.blocks_udp or other.blocks_udp:
        return False
    loose = [nat.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT for nat in (one, other)]
    known = [not nat.translates or nat.mapping is Mapping.ENDPOINT_INDEPENDENT for nat in (one, other)]
    if any(known):
        return all(known) or loose[known.index(True)]
    return all(loose) and Mapping.ADDRESS_DEPENDENT in {one.mapping, other.mapping}


OPEN = Nat(filtering=Filtering.ENDPOINT_INDEPENDENT, translates=False)
"""A host that the internet reaches as it is."""
