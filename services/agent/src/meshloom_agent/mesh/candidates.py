"""Candidates of both sides: what we offer, and what of the other's offers is used."""

from collections.abc import Callable, Iterable

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.ice import Candidate, CandidateKind, parse_candidate
from meshloom.protocol.ice.candidate import local_candidate
from meshloom.protocol.stun import Address


def host_candidates(addresses: Iterable[str], port: int) -> list[Candidate]:
    """Candidates of the host's own addresses."""
    return [
        local_candidate(CandidateKind.HOST, (address, port), 65535 - number) for number, address in enumerate(addresses)
    ]


def remote_candidates(line: str, refuse: Callable[[Address], bool]) -> list[Candidate]:
    """What a signalled line says of the other; nothing where it cannot be used, or *refuse* says so of its address.

    A router may forward the other's own port as it is, whatever it maps outgoing packets to: for a reflexive candidate
    of a sender that knows this, that port is a second one.
    """
    try:
        candidate = parse_candidate(line)
    except ProtocolError:
        return []
    if refuse(candidate.address):
        return []
    related = candidate.related
    if candidate.kind is not CandidateKind.SERVER_REFLEXIVE or candidate.id is None or related is None:
        return [candidate]
    if related[1] in (0, candidate.address[1]):
        return [candidate]
    forwarded = attrs.evolve(
        candidate,
        address=(candidate.address[0], related[1]),
        priority=candidate.priority - 1,
        foundation="static",
        related=None,
        id=None,
    )
    return [candidate] if refuse(forwarded.address) else [candidate, forwarded]
