"""Candidates: addresses at which an agent may be reached, and the line that tells another agent of one (RFC 8839)."""

import binascii
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.stun import Address

MAX_LINE = 512
MAX_PORT = 0xFFFF


class CandidateKind(StrEnum):
    """Where an address comes from (RFC 8445 section 5.1.1)."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAY = "relay"


PREFERENCE = {
    CandidateKind.HOST: 126,
    CandidateKind.PEER_REFLEXIVE: 110,
    CandidateKind.SERVER_REFLEXIVE: 100,
    CandidateKind.RELAY: 0,
}
"""Type preferences that RFC 8445 section 5.1.2.2 recommends."""


@attrs.frozen
class Candidate:
    """An address at which an agent may be reached over UDP.

    Args:
        address: Host and port.
        related: For a reflexive one, the local address behind it.
        id: The sender's own name of it, where its line has the extension ``cid``.
    """

    kind: CandidateKind
    address: Address
    priority: int
    foundation: str
    related: Address | None = None
    id: str | None = None

    def line(self) -> str:
        """As it is signalled; without the prefix ``candidate:``."""
        host, port = self.address
        text = f"{self.foundation} 1 udp {self.priority} {host} {port} typ {self.kind}"
        if self.related is not None:
            text += f" raddr {self.related[0]} rport {self.related[1]}"
        return f"{text} cid {self.id}" if self.id else text


def local_candidate(
    kind: CandidateKind, address: Address, preference: int, related: Address | None = None
) -> Candidate:
    """One of our own; *preference* (0 to 65535) orders those of a kind (RFC 8445 section 5.1.2.1)."""
    foundation = binascii.crc32(f"{kind}{related[0] if related else address[0]}udp".encode())
    return Candidate(kind, address, priority(kind, preference), str(foundation), related)


def priority(kind: CandidateKind, preference: int) -> int:
    """RFC 8445 section 5.1.2.1, for component 1."""
    return (PREFERENCE[kind] << 24) + (preference << 8) + 255


def parse_candidate(line: str) -> Candidate:
    """A signalled line; unknown extensions are ignored.

    Raises:
        ProtocolError: It is too long or no candidate over UDP with an address that can be sent to.
    """
    words = line.removeprefix("a=").removeprefix("candidate:").split() if len(line) <= MAX_LINE else []
    if len(words) < 8 or words[1] != "1" or words[2].lower() != "udp" or words[6] != "typ":
        raise ProtocolError("no candidate over UDP")
    extensions = dict(zip(words[8::2], words[9::2], strict=False))
    try:
        kind = CandidateKind(words[7])
        address = str(_usable(ip_address(words[4]))), _port(words[5], least=1)
        related = None
        if "raddr" in extensions:
            related = str(ip_address(extensions["raddr"])), _port(extensions.get("rport", "0"), least=0)
        rank = int(words[3])
    except ValueError as error:
        raise ProtocolError(f"a candidate's field is wrong: {error}") from None
    if not 0 < rank < 1 << 32 or len(words[0]) > 32:
        raise ProtocolError("a candidate's priority has 32 bits, its foundation 32 characters")
    return Candidate(kind, address, rank, words[0], related, extensions.get("cid"))


def _port(text: str, least: int) -> int:
    port = int(text)
    if not least <= port <= MAX_PORT:
        raise ValueError(f"port {port}")
    return port


def _usable(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Only what a check may be sent to: no reflection to ourselves, to groups, or to nowhere."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f"{address} is of the sender's own interface")
    if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise ValueError(f"{address} cannot be a peer's")
    if isinstance(address, IPv4Address) and address == IPv4Address("255.255.255.255"):
        raise ValueError(f"{address} cannot be a peer's")
    return address
