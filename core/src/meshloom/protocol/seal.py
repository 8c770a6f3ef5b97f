"""Sealed messages between two WireGuard keys: NaCl's ``crypto_box`` (X25519, XSalsa20, Poly1305).

A sealed message is 24 bytes of nonce, 16 of tag, then as many as the plain message has.
"""

from collections.abc import Callable

from nacl.bindings import crypto_box_beforenm, crypto_box_easy_afternm, crypto_box_open_easy_afternm
from nacl.exceptions import CryptoError

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey

NONCE = 24
OVERHEAD = NONCE + 16


class Box:
    """Seals and opens messages between one's own key and another's; the shared key is computed once.

    Args:
        entropy: Gives that many random bytes; nonces come from it.

    Raises:
        ProtocolError: The public key is no point that a shared key can be made with.
    """

    def __init__(self, own: PrivateKey, other: PublicKey, entropy: Callable[[int], bytes]) -> None:
        try:
            self._shared = crypto_box_beforenm(other.raw, own.raw)
        except (CryptoError, ValueError) as error:
            raise ProtocolError("the public key is unusable") from error
        self._entropy = entropy

    def seal(self, plain: bytes, head: bytes = b"") -> bytes:
        """The sealed message after *head*, which stays readable; a fresh nonce each time."""
        nonce = self._entropy(NONCE)
        return b"".join((head, nonce, crypto_box_easy_afternm(plain, nonce, self._shared)))

    def open(self, sealed: bytes) -> bytes:
        """The plain message.

        Raises:
            ProtocolError: It is too short, or was not sealed by the other for us, or was changed.
        """
        if len(sealed) < OVERHEAD:
            raise ProtocolError("a sealed message is cut off")
        try:
            return crypto_box_open_easy_afternm(sealed[NONCE:], sealed[:NONCE], self._shared)
        except (CryptoError, ValueError) as error:
            raise ProtocolError("a sealed message does not open with these keys") from error
