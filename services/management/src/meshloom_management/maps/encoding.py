"""What of protobuf's wire format splicing needs, and the protocol's packed addresses."""

from ipaddress import IPv4Address, IPv6Address


def varint(number: int) -> bytes:
    """Protobuf's encoding of a number."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def number_field(number: int, value: int) -> bytes:
    """A field with a number or a truth value."""
    return varint(number << 3) + varint(value)


def compact(address: IPv4Address | IPv6Address, prefix: int) -> bytes:
    """An address and a prefix length as the protocol packs them."""
    return address.packed + bytes([prefix])
