"""STUN messages (RFC 8489), as ICE and address discovery use them: a codec that is bounded and never trusts a length.

Attributes after FINGERPRINT are ignored, not refused: an ICE implementation in the field appends one there, with the
header's length covering it. MESSAGE-INTEGRITY and FINGERPRINT are each computed with the length up to themselves
(sections 14.5, 14.7), so such a message still verifies.
"""

import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

import attrs

from meshloom.errors import ProtocolError

MAGIC_COOKIE = b"\x21\x12\xa4\x42"
HEADER = 20
MAX_MESSAGE = 1500
MAX_ATTRIBUTES = 32
FINGERPRINT_XOR = 0x5354554E

Address = tuple[str, int]


class Kind(IntEnum):
    """Message types that are used here: method Binding in its four classes (section 5)."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    SUCCESS = 0x0101
    ERROR = 0x0111


class Attribute(IntEnum):
    """Attribute types (section 18.3, RFC 8445 section 16.1)."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C
    FILLING = 0x8FFE  # ours, ignored by whoever does not know it: makes a check as long as a packet


@attrs.frozen
class Message:
    """A parsed message.

    Args:
        kind: Any value of 14 bits, of :class:`Kind` if it is one of these.
        transaction: 12 bytes.
        attributes: Those before FINGERPRINT, the first of each type.
        raw: The whole message as it came.
        integrity_at: Where MESSAGE-INTEGRITY begins in ``raw``, 0 for none.
        has_fingerprint: There is one, and it is right.
    """

    kind: int
    transaction: bytes
    attributes: dict[int, bytes]
    raw: bytes = attrs.field(repr=False)
    integrity_at: int = 0
    has_fingerprint: bool = False

    def is_authentic(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and made with that short-term password (section 9.1)."""
        if not self.integrity_at:
            return False
        expected = _integrity(self.raw[: self.integrity_at], password)
        return hmac.compare_digest(expected, self.raw[self.integrity_at + 4 : self.integrity_at + 24])

    @property
    def username(self) -> bytes:
        """USERNAME, empty where there is none."""
        return self.attributes.get(Attribute.USERNAME, b"")

    @property
    def mapped_address(self) -> Address | None:
        """(XOR-)MAPPED-ADDRESS.

        Raises:
            ProtocolError: It is there, but is no address.
        """
        if (value := self.attributes.get(Attribute.XOR_MAPPED_ADDRESS)) is not None:
            return _unpack_address(value, MAGIC_COOKIE + self.transaction)
        return self.plain_address(Attribute.MAPPED_ADDRESS)

    def plain_address(self, attribute: Attribute) -> Address | None:
        """MAPPED-ADDRESS, RESPONSE-ORIGIN or OTHER-ADDRESS (RFC 5780 section 7.4), None where there is none.

        Raises:
            ProtocolError: It is there, but is no address.
        """
        value = self.attributes.get(attribute)
        return None if value is None else _unpack_address(value, bytes(16))

    @property
    def error_code(self) -> int:
        """ERROR-CODE's number, 0 where there is none."""
        value = self.attributes.get(Attribute.ERROR_CODE, b"")
        return (value[2] & 7) * 100 + value[3] if len(value) >= 4 else 0

    def number(self, attribute: Attribute) -> int | None:
        """A PRIORITY (32 bits) or tie-breaker (64 bits) attribute; None where there is none."""
        value = self.attributes.get(attribute)
        return None if value is None else int.from_bytes(value)


def is_stun(data: bytes) -> bool:
    """Whether it can be a STUN message, judged by its first 20 bytes alone."""
    return len(data) >= HEADER and data[0] < 0x40 and data[4:8] == MAGIC_COOKIE


def parse(data: bytes) -> Message:
    """Decode a message.

    Raises:
        ProtocolError: It is no STUN message, is cut off, has too many attributes, or its FINGERPRINT is wrong.
    """
    if not is_stun(data) or len(data) > MAX_MESSAGE:
        raise ProtocolError("no STUN message")
    kind, length = struct.unpack_from("!HH", data)
    if length % 4 or HEADER + length != len(data):
        raise ProtocolError("a STUN message's length is not that of the datagram")
    attributes: dict[int, bytes] = {}
    at, integrity_at, has_fingerprint = HEADER, 0, False
    while at < len(data):
        if at + 4 > len(data) or len(attributes) >= MAX_ATTRIBUTES:
            raise ProtocolError("a STUN message's attributes are cut off or too many")
        type_, size = struct.unpack_from("!HH", data, at)
        value = data[at + 4 : at + 4 + size]
        if len(value) != size:
            raise ProtocolError("a STUN attribute is cut off")
        if type_ == Attribute.FINGERPRINT:
            if size != 4 or int.from_bytes(value) != _fingerprint(data[:at]):
                raise ProtocolError("a STUN message's FINGERPRINT is wrong")
            has_fingerprint = True
            break
        if type_ == Attribute.MESSAGE_INTEGRITY and not integrity_at:
            if size != 20:
                raise ProtocolError("a STUN MESSAGE-INTEGRITY has 20 bytes")
            integrity_at = at
        elif not integrity_at:  # what follows it is not protected: ignored (section 14.5)
            attributes.setdefault(type_, value)
        at += 4 + size + -size % 4
    return Message(kind, data[8:20], attributes, data, integrity_at, has_fingerprint)


def encode(
    kind: Kind,
    transaction: bytes,
    attributes: Iterable[tuple[Attribute, bytes]] = (),
    password: bytes | None = None,
) -> bytes:
    """A message with FINGERPRINT, and with MESSAGE-INTEGRITY where a short-term *password* is given."""
    body = b"".join(
        struct.pack("!HH", type_, len(value)) + value + bytes(-len(value) % 4) for type_, value in attributes
    )
    data = struct.pack("!HH", kind, len(body)) + MAGIC_COOKIE + transaction + body
    if password is not None:
        data += b"\x00\x08\x00\x14" + _integrity(data, password)
    return _with_length(data, 8) + b"\x80\x28\x00\x04" + _fingerprint(data).to_bytes(4)


def size_of(attributes: Iterable[tuple[Attribute, bytes]], *, authentic: bool) -> int:
    """Bytes of a message with these attributes, and MESSAGE-INTEGRITY where it is *authentic*."""
    return HEADER + sum(4 + len(value) + -len(value) % 4 for _, value in attributes) + 8 + (24 if authentic else 0)


def is_binding_request(data: bytes) -> bool:
    """Whether it is a binding request, as far as its header tells."""
    if len(data) < HEADER or data[:2] != b"\x00\x01" or data[4:8] != MAGIC_COOKIE:
        return False
    length = int.from_bytes(data[2:4])
    return length % 4 == 0 and HEADER + length == len(data) <= MAX_MESSAGE


def answer(request: bytes, source: Address) -> bytes | None:
    """The binding response to a request, None for anything else.

    Only XOR-MAPPED-ADDRESS and FINGERPRINT: 40 bytes for IPv4, 52 for IPv6. It is the whole of a STUN server, and the
    hot path of one, so the request's attributes are only walked where a FINGERPRINT may end them.
    """
    if not is_binding_request(request):
        return None
    transaction = request[8:20]
    return encode(Kind.SUCCESS, transaction, [(Attribute.XOR_MAPPED_ADDRESS, pack_address(source, transaction))])


def pack_address(address: Address, transaction: bytes) -> bytes:
    """XOR-MAPPED-ADDRESS's value (section 14.2)."""
    return _pack_address(address, MAGIC_COOKIE + transaction)


def pack_plain_address(address: Address) -> bytes:
    """The value of an address attribute that is not mixed with the transaction (section 14.1)."""
    return _pack_address(address, bytes(16))


def error_value(code: int, reason: str) -> bytes:
    """ERROR-CODE's value (section 14.8)."""
    return struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode()


def _pack_address(address: Address, mask: bytes) -> bytes:
    host, port = address
    packed = IPv6Address(host).packed if ":" in host else IPv4Address(host).packed
    size = len(packed)
    family = 2 if size == 16 else 1
    mixed = (int.from_bytes(packed) ^ int.from_bytes(mask[:size])).to_bytes(size)
    return struct.pack("!xBH", family, port ^ int.from_bytes(mask[:2])) + mixed


def _unpack_address(value: bytes, mask: bytes) -> Address:
    if len(value) not in (8, 20) or value[1] != (1 if len(value) == 8 else 2):
        raise ProtocolError("a STUN address attribute is malformed")
    port = int.from_bytes(value[2:4]) ^ int.from_bytes(mask[:2])
    packed = bytes(byte ^ other for byte, other in zip(value[4:], mask, strict=False))
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)), port


def _with_length(data: bytes, more: int) -> bytes:
    return data[:2] + (len(data) - HEADER + more).to_bytes(2) + data[4:]


def _integrity(data: bytes, password: bytes) -> bytes:
    return hmac.digest(password, _with_length(data, 24), hashlib.sha1)


def _fingerprint(data: bytes) -> int:
    return binascii.crc32(_with_length(data, 8)) ^ FINGERPRINT_XOR
