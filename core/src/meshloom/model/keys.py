"""WireGuard keys: 32 bytes of Curve25519, written in standard base64 (44 characters)."""

import base64
import binascii
from typing import Self

import attrs
from nacl.bindings import crypto_scalarmult_base

from meshloom.errors import ProtocolError

KEY_LENGTH = 32


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_LENGTH:
        raise ProtocolError("a WireGuard key is 32 bytes in base64 (44 characters)")
    return raw


@attrs.frozen
class PublicKey:
    """A peer's public key; compares and hashes by its base64 text, which is what the protocol orders peers by."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ProtocolError for what is no key. Other spellings of the same bytes become the standard one."""
        return cls.of(_decode(text))

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """From 32 raw bytes."""
        if len(raw) != KEY_LENGTH:
            raise ProtocolError(f"a WireGuard key has 32 bytes, not {len(raw)}")
        return cls(base64.b64encode(raw).decode())

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return base64.b64decode(self.text)

    def __str__(self) -> str:
        return self.text


@attrs.frozen(repr=False)
class PrivateKey:
    """A private key; its ``repr`` and ``str`` do not reveal it."""

    raw: bytes = attrs.field(validator=attrs.validators.instance_of(bytes))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ProtocolError for what is no key."""
        return cls(_decode(text.strip()))

    @classmethod
    def of(cls, entropy: bytes) -> Self:
        """From 32 random bytes, clamped as Curve25519 wants (RFC 7748 section 5)."""
        if len(entropy) != KEY_LENGTH:
            raise ProtocolError(f"a WireGuard key has 32 bytes, not {len(entropy)}")
        scalar = bytearray(entropy)
        scalar[0] &= 248
        scalar[31] = (scalar[31] & 127) | 64
        return cls(bytes(scalar))

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        return PublicKey.of(crypto_scalarmult_base(self.raw))

    def reveal(self) -> str:
        """Base64, for a key file or the device; never for a log."""
        return base64.b64encode(self.raw).decode()

    def __repr__(self) -> str:
        return "PrivateKey(...)"


@attrs.frozen(repr=False)
class PresharedKey:
    """WireGuard's optional symmetric key of a pair of peers; not revealed by ``repr``."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ProtocolError for what is no key."""
        return cls(_decode(text.strip()))

    def __repr__(self) -> str:
        return "PresharedKey(...)"
