"""Whether the gateway opens ports on request: questions and answers of PCP, NAT-PMP and UPnP, without any I/O.

Only asked, never mapped: a check must leave the gateway as it was.
"""

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

PORT = 5351
"""Of PCP (RFC 6887 section 19.1) and NAT-PMP (RFC 6886 section 3)."""
SSDP = ("239.255.255.250", 1900)
GATEWAY_DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
NAT_PMP_REQUEST = b"\0\0"
"""Asks for the outer address (RFC 6886 section 3.2)."""
SSDP_REQUEST = "\r\n".join(
    ("M-SEARCH * HTTP/1.1", f"HOST: {SSDP[0]}:1900", 'MAN: "ssdp:discover"', "MX: 1", f"ST: {GATEWAY_DEVICE}1", "", "")
).encode()
PCP_VERSION, PCP_ANNOUNCE, RESPONSE = 2, 0, 0x80
LONGEST = 1100


def pcp_request(client: str) -> bytes:
    """An ANNOUNCE (RFC 6887 section 14.1), which changes nothing; *client* is our address towards the gateway."""
    address = IPv6Address(client) if ":" in client else IPv6Address(f"::ffff:{client}")
    return struct.pack("!BBHI", PCP_VERSION, PCP_ANNOUNCE, 0, 0) + address.packed


def speaks_pcp(data: bytes) -> bool:
    """Whether the answer to :func:`pcp_request` says yes (RFC 6887 section 7.2)."""
    return 24 <= len(data) <= LONGEST and data[0] == PCP_VERSION and data[1] == RESPONSE | PCP_ANNOUNCE and not data[3]


def nat_pmp_address(data: bytes) -> IPv4Address | None:
    """The outer address of an answer to ``NAT_PMP_REQUEST``; None for a refusal or anything else."""
    if len(data) != 12 or data[:4] != b"\0\x80\0\0":
        return None
    return IPv4Address(data[8:12])


def is_gateway_device(data: bytes) -> bool:
    """Whether the answer to ``SSDP_REQUEST`` is of a gateway (UPnP Device Architecture 1.1 section 1.3.3)."""
    head, *lines = data[:2048].decode("ascii", "replace").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines)}
    return head.startswith("HTTP/1.1 200") and fields.get("st", "").startswith(GATEWAY_DEVICE)


def default_gateway(lines: Iterable[str]) -> str | None:
    """The gateway of the best default route in the lines of ``/proc/net/route`` (proc(5)); None where there is none."""
    best: tuple[int, str] | None = None
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        try:
            address = str(IPv4Address(int(fields[2], 16).to_bytes(4, "little")))
            found = (int(fields[6]), address)
        except (ValueError, OverflowError):
            continue
        if address != "0.0.0.0" and (best is None or found < best):
            best = found
    return best[1] if best else None
