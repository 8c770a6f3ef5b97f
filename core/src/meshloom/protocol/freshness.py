"""Proofs that a sealed request was made just now, for one method, and that an answer belongs to that request.

The server hands out challenges with its key; it keeps none of them, as each carries its time and a code that only the
server can make. A request repeats a challenge and names its method, the answer repeats the nonce of the request: a
recorded message counts neither later, nor for another method, nor in the other direction. The protocol of NetBird
knows no such fields; what it leaves open is narrowed by :class:`Nonces`, by which a server recognises its own messages.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from meshloom.errors import ProtocolError
from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb

LIFETIME: Final = 120.0
"""Seconds for which a challenge is good."""
AHEAD: Final = 30.0
"""Seconds by which the clock of another instance, which made the challenge, may be ahead."""
NONCE: Final = 16
"""Random bytes of a proof."""
_TIME, _RANDOM, _CODE = 8, 16, 16
_TAG = 8


def derived_key(private: PrivateKey, purpose: str) -> bytes:
    """Returns a secret for one purpose, the same on every instance that has the private key."""
    return hashlib.blake2b(purpose.encode(), key=private.raw, digest_size=32).digest()


class Challenges:
    """The challenges of a server, which remembers none of them.

    Args:
        private: The server's key; the codes are made with a secret derived from it.
        clock: Returns the seconds since 1970.
        entropy: Returns that many random bytes.
    """

    def __init__(self, private: PrivateKey, clock: Callable[[], float], entropy: Callable[[int], bytes]) -> None:
        self._key = derived_key(private, "meshloom challenge")
        self._clock, self._entropy = clock, entropy

    def issue(self) -> bytes:
        """Returns a challenge that is good from now on."""
        made = int(self._clock() * 1000).to_bytes(_TIME) + self._entropy(_RANDOM)
        return made + self._code(made)

    def is_good(self, challenge: bytes, since: float = 0.0) -> bool:
        """Tells whether this server handed the challenge out, less than :data:`LIFETIME` seconds ago.

        Args:
            challenge: What was handed out.
            since: Seconds since 1970 before which no challenge counts. A moment that has not come yet was written
                down before the clock was set back, and keeps nobody out.
        """
        made, code = challenge[: _TIME + _RANDOM], challenge[_TIME + _RANDOM :]
        if not hmac.compare_digest(code, self._code(made)):
            return False
        now, at = self._clock(), int.from_bytes(made[:_TIME])
        if since <= now and at < int(since * 1000):
            return False
        return -AHEAD <= now - at / 1000 <= LIFETIME

    def proves(self, proof: pb.RequestProof, method: str, since: float = 0.0) -> bool:
        """Tells whether a request with this proof was made for the method, after a challenge that is still good.

        Nothing is remembered: the caller refuses messages that it has seen.

        Args:
            proof: The proof of the request.
            method: The name of the RPC.
            since: Seconds since 1970: when the sender was registered. What it made earlier does not count.
        """
        return proof.method == method and len(proof.nonce) == NONCE and self.is_good(proof.challenge, since)

    def _code(self, made: bytes) -> bytes:
        return hashlib.blake2b(made, key=self._key, digest_size=_CODE).digest()


def request_proof(challenge: bytes, method: str, entropy: Callable[[int], bytes]) -> pb.RequestProof:
    """Returns the proof for one request.

    Args:
        challenge: What the server gave together with its key.
        method: The name of the RPC: ``Login``, ``Sync``, ``SyncMeta``, ``Logout`` or ``Job``.
        entropy: Returns that many random bytes.
    """
    return pb.RequestProof(challenge=challenge, nonce=entropy(NONCE), method=method)


def answer_proof(request: pb.RequestProof, number: int = 0) -> pb.AnswerProof:
    """Returns the proof for the answer of that number, from 0 on, to the request."""
    return pb.AnswerProof(nonce=request.nonce, method=request.method, number=number)


def check_answer(answer: pb.AnswerProof, request: pb.RequestProof, number: int = 0) -> None:
    """Checks that an answer belongs to the request, and is the stream's message of that number.

    An answer without a proof has an empty one, which belongs to no request.

    Raises:
        ProtocolError: The answer was made for another request or place.
    """
    if not hmac.compare_digest(answer.nonce, request.nonce) or answer.method != request.method:
        raise ProtocolError("the server's answer does not belong to this request")
    if answer.number != number:
        raise ProtocolError(f"the server's answer is number {answer.number} of its stream, not {number}")


class Nonces:
    """Nonces for a :class:`~meshloom.protocol.seal.Box` that their maker recognises: 16 random bytes, 8 of a code.

    A box is sealed with the same key in both directions. By its nonces a server knows its own messages when they are
    sent back to it.

    Args:
        private: The maker's key; the codes are made with a secret derived from it.
        entropy: Returns that many random bytes.
    """

    def __init__(self, private: PrivateKey, entropy: Callable[[int], bytes]) -> None:
        self._key = derived_key(private, "meshloom nonce")
        self._entropy = entropy

    def __call__(self, size: int) -> bytes:
        """Returns a new nonce of that size, which is 24."""
        random = self._entropy(size - _TAG)
        return random + self._tag(random)

    def is_own(self, nonce: bytes) -> bool:
        """Tells whether the nonce was made here, with this key."""
        return hmac.compare_digest(nonce[-_TAG:], self._tag(nonce[:-_TAG]))

    def _tag(self, random: bytes) -> bytes:
        return hashlib.blake2b(random, key=self._key, digest_size=_TAG).digest()
