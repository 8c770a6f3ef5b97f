"""Proof that an agent holds the private key in whose name it opens a stream of the signal service.

The protocol of NetBird has no such proof. A client that can prove its key says so in the request's metadata. The server
puts a challenge into the metadata of its answer, and the client's first message on the stream answers it.
"""

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from meshloom.errors import ProtocolError
from meshloom.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from meshloom.protocol.seal import OVERHEAD, Box
from meshloom.rpc import signalexchange_pb2 as pb

PROVES: Final = "x-meshloom-proves"
"""Metadata of a request whose client answers the challenge."""
CHALLENGE: Final = "x-meshloom-challenge"
"""Metadata of the answer."""
RANDOM: Final = 16
_HEAD: Final = b"\x07meshloom signal proof\x00"
"""What the sealed text begins with. No message of protobuf does: a hostile signal server, whose challenge may hold the
key of a peer or of management, gets nothing that these would read."""


class Verifier:
    """Makes challenges, and checks what answers them.

    Args:
        private: A key of this process alone.
        entropy: Returns that many random bytes.
    """

    def __init__(self, private: PrivateKey, entropy: Callable[[int], bytes]) -> None:
        self._private, self._entropy = private, entropy
        self._public = private.public.raw

    def challenge(self) -> str:
        """Returns the text of a new challenge, which is good for one stream."""
        return base64.b64encode(self._public + self._entropy(RANDOM)).decode()

    def proves(self, data: bytes, challenge: str, key: PublicKey) -> bool:
        """Tells whether an encoded message answers the challenge in the name of that key."""
        try:
            message = pb.EncryptedMessage.FromString(data)
            if message.key != key.text or message.remoteKey != challenge or len(message.body) != _SEALED:
                return False
            plain = Box(self._private, key, self._entropy).open(message.body)
        except (DecodeError, ProtocolError):
            return False
        return hmac.compare_digest(plain, _HEAD + base64.b64decode(challenge))


def prove(challenge: str, private: PrivateKey, entropy: Callable[[int], bytes]) -> pb.EncryptedMessage:
    """Returns the message that answers a challenge.

    Raises:
        ProtocolError: The text is not a challenge.
    """
    try:
        raw = base64.b64decode(challenge, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_LENGTH + RANDOM:
        raise ProtocolError(f"{CHALLENGE} is not a key and {RANDOM} random bytes in base64")
    sealed = Box(private, PublicKey.of(raw[:KEY_LENGTH]), entropy).seal(_HEAD + raw)
    return pb.EncryptedMessage(key=private.public.text, remoteKey=challenge, body=sealed)


_SEALED: Final = OVERHEAD + len(_HEAD) + KEY_LENGTH + RANDOM
