"""Asking a router to hand a UDP port on to us: messages of PCP, NAT-PMP and UPnP's discovery, without any I/O.

Requests ask for whole leases; a lease of 0 seconds gives the port back.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.stun import Address

PORT = 5351
"""Of PCP (RFC 6887 section 19.1) and NAT-PMP (RFC 6886 section 3)."""
SSDP = ("239.255.255.250", 1900)
GATEWAY_DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
NAT_PMP_REQUEST = b"\0\0"
"""Asks for the outer address (RFC 6886 section 3.2)."""
SSDP_REQUEST = "\r\n".join(
    ("M-SEARCH * HTTP/1.1", f"HOST: {SSDP[0]}:1900", 'MAN: "ssdp:discover"', "MX: 1", f"ST: {GATEWAY_DEVICE}1", "", "")
).encode()
PCP_VERSION, PCP_ANNOUNCE, PCP_MAP, RESPONSE = 2, 0, 1, 0x80
NAT_PMP_ADDRESS, NAT_PMP_MAP_UDP = 0, 1
NONCE = 12
UDP = 17
LONGEST = 1100
"""Bytes of a PCP message at the most (RFC 6887 section 7)."""
MAX_LEASE = 24 * 3600
"""Seconds: a router that promises more is taken at its word for no longer."""
PCP_HEAD = struct.Struct("!BBBBI")
PCP_MAPPING = struct.Struct("!12sB3xHH16s")
PCP_ERRORS = {
    1: "it speaks no such version",
    2: "it does not let this machine",
    3: "it does not understand the request",
    4: "it knows no such request",
    7: "its network has failed",
    8: "it has no room",
    9: "it maps no UDP",
    10: "this machine has too many",
    11: "the outer port is taken",
    12: "there is another router between",
}
NAT_PMP_ERRORS = {
    1: "it speaks no such version",
    2: "it does not let this machine",
    3: "its network has failed",
    4: "it has no room",
    5: "it knows no such request",
}


@attrs.frozen
class Lease:
    """An outer port that a router hands on to us.

    Args:
        outer: Its address and port; the address is empty where it has to be asked for apart.
        seconds: How long; 0 where it was given back.
    """

    outer: Address
    seconds: int


class MappingRefused(ProtocolError):
    """The router answers, and does not do it; says why."""


# -- PCP ---------------------------------------------------------------------------------------------------------


def pcp_request(client: str) -> bytes:
    """An ANNOUNCE (RFC 6887 section 14.1), which changes nothing; *client* is our address towards the router."""
    return PCP_HEAD.pack(PCP_VERSION, PCP_ANNOUNCE, 0, 0, 0) + _mapped_form(client)


def speaks_pcp(data: bytes) -> bool:
    """Whether the answer to :func:`pcp_request` says yes (RFC 6887 section 7.2)."""
    return 24 <= len(data) <= LONGEST and data[0] == PCP_VERSION and data[1] == RESPONSE | PCP_ANNOUNCE and not data[3]


def pcp_map_request(client: str, nonce: bytes, port: int, outer: Address, lease: int) -> bytes:
    """A MAP of one UDP port (RFC 6887 section 11.1).

    Args:
        client: Our address towards the router.
        port: Ours.
        nonce: 12 random bytes, the same for as long as the mapping is to be ours.
        outer: What we had, or wish for; an empty address or port 0 for any.
        lease: Seconds.
    """
    head = PCP_HEAD.pack(PCP_VERSION, PCP_MAP, 0, 0, lease) + _mapped_form(client)
    return head + PCP_MAPPING.pack(nonce, UDP, port, outer[1], _mapped_form(outer[0] or "0.0.0.0"))


def pcp_lease(data: bytes, nonce: bytes, port: int) -> Lease:
    """The answer to :func:`pcp_map_request` (RFC 6887 section 11.1).

    Raises:
        MappingRefused: The router says no.
        ProtocolError: It is no answer to that.
    """
    if not 8 <= len(data) <= LONGEST or not data[1] & RESPONSE:
        raise ProtocolError("no answer of PCP")
    version, code, _, result, lease = PCP_HEAD.unpack_from(data)
    if version != PCP_VERSION:
        raise MappingRefused(PCP_ERRORS[1])  # RFC 6887 section 9: older routers say so in their own version
    if code != RESPONSE | PCP_MAP or len(data) < 24 + PCP_MAPPING.size:
        raise ProtocolError("an answer of PCP to something else")
    theirs, protocol, inner, outer, address = PCP_MAPPING.unpack_from(data, 24)
    if (theirs, protocol, inner) != (nonce, UDP, port):
        raise ProtocolError("an answer of PCP about another mapping")
    if result:
        raise MappingRefused(PCP_ERRORS.get(result, f"it says {result}"))
    return _lease(_plain_form(address), outer, lease)


# -- NAT-PMP -----------------------------------------------------------------------------------------------------


def nat_pmp_map_request(port: int, outer: int, lease: int) -> bytes:
    """A mapping of one UDP port (RFC 6886 section 3.3); *outer* is the port that we had, or wish for."""
    return struct.pack("!BBHHHI", 0, NAT_PMP_MAP_UDP, 0, port, outer if lease else 0, lease)


def nat_pmp_lease(data: bytes, port: int) -> Lease:
    """The answer to :func:`nat_pmp_map_request`; without the outer address.

    Raises:
        MappingRefused: The router says no.
        ProtocolError: It is no answer to that.
    """
    _nat_pmp_result(data, NAT_PMP_MAP_UDP)
    if len(data) != 16:
        raise ProtocolError("an answer of NAT-PMP that is cut")
    inner, outer, lease = struct.unpack_from("!HHI", data, 8)
    if inner != port:
        raise ProtocolError("an answer of NAT-PMP about another port")
    return _lease("", outer, lease)


def nat_pmp_outer(data: bytes) -> str:
    """The outer address of an answer to ``NAT_PMP_REQUEST``.

    Raises:
        MappingRefused: The router says no.
        ProtocolError: It is no answer to that.
    """
    _nat_pmp_result(data, NAT_PMP_ADDRESS)
    if len(data) != 12:
        raise ProtocolError("an answer of NAT-PMP that is cut")
    return checked_outer(str(IPv4Address(data[8:12])))


def nat_pmp_address(data: bytes) -> IPv4Address | None:
    """The outer address of an answer to ``NAT_PMP_REQUEST``; None for a refusal or anything else."""
    if len(data) != 12 or data[:4] != b"\0\x80\0\0":
        return None
    return IPv4Address(data[8:12])


def _nat_pmp_result(data: bytes, request: int) -> None:
    if len(data) < 4 or data[0] or data[1] != RESPONSE | request:
        raise ProtocolError("no answer of NAT-PMP to that")
    if result := int.from_bytes(data[2:4]):
        raise MappingRefused(NAT_PMP_ERRORS.get(result, f"it says {result}"))


# -- UPnP --------------------------------------------------------------------------------------------------------


def is_gateway_device(data: bytes) -> bool:
    """Whether the answer to ``SSDP_REQUEST`` is of a gateway (UPnP Device Architecture 1.1 section 1.3.3)."""
    head, fields = _http_fields(data)
    return head.startswith("HTTP/1.1 200") and fields.get("st", "").startswith(GATEWAY_DEVICE)


def description_url(data: bytes, gateway: str) -> str:
    """Where the gateway describes itself, of an answer to ``SSDP_REQUEST``.

    Anyone of the local network may answer: only a description on the gateway's own address counts.

    Raises:
        ProtocolError: It is no such answer.
    """
    url = _http_fields(data)[1].get("location", "")
    try:
        parts = urlsplit(url)
        is_there = parts.scheme == "http" and parts.hostname == gateway and parts.port != 0
    except ValueError:
        is_there = False
    if not is_there or not is_gateway_device(data) or not url.isprintable() or " " in url:
        raise ProtocolError("no description of the gateway")
    return url


def _http_fields(data: bytes) -> tuple[str, dict[str, str]]:
    head, *lines = data[:2048].decode("ascii", "replace").split("\r\n")
    found = (line.partition(":") for line in lines)
    return head, {name.strip().lower(): value.strip() for name, colon, value in found if colon}


# -- addresses ---------------------------------------------------------------------------------------------------


def checked_outer(text: str) -> str:
    """An outer address that a router told, where it can be one.

    Raises:
        ProtocolError: It cannot.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ProtocolError("the router's outer address is none") from None
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        raise ProtocolError(f"the router has no outer address but {address}: it is not connected")
    return str(address)


def _lease(address: str, port: int, seconds: int) -> Lease:
    if not seconds:
        return Lease((address, port), 0)
    if not port:
        raise ProtocolError("the router gave port 0")
    return Lease((checked_outer(address) if address else "", port), min(seconds, MAX_LEASE))


def _mapped_form(text: str) -> bytes:
    """16 bytes; an IPv4 address as RFC 4291 section 2.5.5.2 writes it."""
    return IPv6Address(text if ":" in text else f"::ffff:{text}").packed


def _plain_form(data: bytes) -> str:
    address = IPv6Address(data)
    return str(address.ipv4_mapped or address)
