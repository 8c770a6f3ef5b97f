"""Sealed messages of agents, opened: who sent one, whether it is fresh, and how its answer is sealed."""

import secrets
from functools import lru_cache
from typing import Final, Generic, TypeVar

import attrs
from google.protobuf.message import DecodeError

from meshloom.errors import MeshError, ProtocolError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.model.peer import Peer
from meshloom.protocol.freshness import Challenges, Nonces, answer_proof
from meshloom.protocol.seal import NONCE, OVERHEAD, Box
from meshloom.rpc import management_pb2 as pb
from meshloom_management.accounts import Accounts
from meshloom_management.errors import NotFound, NotFresh, PermissionDenied
from meshloom_management.maps.encoding import field, varint
from meshloom_management.rpc.seen import SeenNonces

BOXES: Final = 4096
"""Registered senders whose shared key is kept: to work one out takes longer than to open a message."""
PROOF: Final = 1001
"""The number of the field of an answer that holds its proof."""

M = TypeVar("M", pb.LoginRequest, pb.SyncRequest, pb.SyncMetaRequest, pb.JobRequest, pb.AbsenceRequest, pb.Empty)


class Answer:
    """Seals the messages of one answer, each with its own number."""

    def __init__(self, box: Box, head: bytes, request: pb.RequestProof | None) -> None:
        self._box, self._head, self._request = box, head, request
        self._number = 0

    @property
    def proof(self) -> bytes:
        """The encoded field for the end of the next message; empty for senders that do not prove anything."""
        if self._request is None:
            return b""
        return field(PROOF, answer_proof(self._request, self._number).SerializeToString())

    def seal(self, plain: bytes) -> bytes:
        """Returns an ``EncryptedMessage``; joined, as protobuf takes longer over a large one than sealing does."""
        self._number += 1
        return self._box.seal(plain, self._head + varint(len(plain) + OVERHEAD))


@attrs.frozen
class Request(Generic[M]):
    """A message that is its sender's own, and came for the first time.

    Attributes:
        key: The sender's key.
        known: The sender; None where it is not registered, which Login allows, and a Logout that proves itself fresh.
        plain: The message as it was sealed.
    """

    key: PublicKey
    known: Peer | None
    plain: bytes = attrs.field(repr=False)
    message: M = attrs.field(repr=False)
    answer: Answer

    @property
    def proves(self) -> bool:
        """Whether the sender proves that its requests are fresh."""
        return self.message.HasField("proof")

    @property
    def sender(self) -> Peer:
        """The registered sender.

        Raises:
            PermissionDenied: It is not registered.
        """
        if self.known is None:
            raise PermissionDenied("peer is not registered")
        return self.known


class Requests:
    """Opens messages.

    Args:
        key: The server's key.
        seen: Remembers the messages of senders that are or were registered.
    """

    def __init__(self, key: PrivateKey, accounts: Accounts, seen: SeenNonces) -> None:
        self._key, self._accounts, self._seen = key, accounts, seen
        self._challenges = Challenges(key, lambda: accounts.now().timestamp(), secrets.token_bytes)
        self._nonces = Nonces(key, secrets.token_bytes)
        self._head = field(1, key.public.text.encode()) + varint(2 << 3 | 2)
        self._known_box = lru_cache(BOXES)(self._box)

    def challenge(self) -> bytes:
        """Returns what a sender proves with that its request is fresh."""
        return self._challenges.issue()

    def remember(self, sender: PublicKey) -> None:
        """Takes note that a sender has been registered, by a message that was opened before, or has been until now."""
        self._seen.register(sender)

    def open(self, data: bytes, kind: type[M], method: str) -> Request[M]:
        """Opens a message for a method; who never was registered is refused before that costs anything, but for Login.

        What a removed sender sends is opened, since it is spent by that: nobody can send it again in the sender's name
        once the sender is registered again.

        Raises:
            ProtocolError: It cannot be read, or is not its sender's.
            PermissionDenied: The sender is not registered.
            NotFound: The same for Logout.
            NotFresh: It came already, is an answer of this server, or does not prove what it must.
        """
        try:
            envelope = pb.EncryptedMessage.FromString(data)
            key = PublicKey.parse(envelope.wgPubKey)
            nonce = envelope.body[:NONCE]
            if self._nonces.is_own(nonce):  # before all else: refused in the same way everywhere
                raise _not_fresh()
            found = self._accounts.find_peer(key)
            known = None if found is None else found[1]
            was_known = known is not None or self._seen.remembers(key)
            if not was_known and method != "Login":
                raise _not_registered(key, method)
            box = self._known_box(key) if was_known else self._box(key)
            plain = box.open(envelope.body)
            if not self._seen.see(key, nonce, registered=known is not None):  # spent, whatever comes of it
                raise _not_fresh()
            message = kind.FromString(plain)
        except DecodeError as error:
            raise ProtocolError("the message cannot be read") from error
        proof = message.proof if message.HasField("proof") else None
        if not self._is_fresh(known, proof, method):
            raise _not_fresh()
        if known is None and method != "Login" and (method != "Logout" or proof is None):
            raise _not_registered(key, method)
        return Request(key, known, plain, message, Answer(box, self._head, proof))

    def _is_fresh(self, peer: Peer | None, proof: pb.RequestProof | None, method: str) -> bool:
        if proof is None:
            return peer is None or not peer.proves
        since = 0.0 if peer is None else peer.created_at.timestamp()
        return self._challenges.proves(proof, method, since)

    def _box(self, key: PublicKey) -> Box:
        return Box(self._key, key, self._nonces)


def _not_registered(key: PublicKey, method: str) -> MeshError:
    if method == "Logout":
        return NotFound(f"peer not found: {key}")
    return PermissionDenied("peer is not registered")


def _not_fresh() -> NotFresh:
    return NotFresh("the request is not fresh: ask for the server's key again")
