"""Messages between peers and a relay: bounded codec and ids of peers.

Every message begins with the protocol's version and its kind. The one that matters for speed is a packet: a head of
38 bytes, in which a peer writes who it is for and the relay who it is from, and WireGuard's bytes. Whoever forwards
one replaces the head (:func:`packet_head`) and touches nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NewType

import attrs

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol.relay_address import RelayAddress

RelayPeerID = NewType("RelayPeerID", bytes)
"""How a relay calls a peer: 36 bytes."""

Buffer = bytes | bytearray | memoryview

VERSION = 1
ID_PREFIX = b"sha-"
ID_SIZE = 36
HEAD_SIZE = 2 + ID_SIZE
LONGEST = 8820
LONGEST_AUTH = 212
IDS_OF_A_MESSAGE = (LONGEST - 2) // ID_SIZE
LONGEST_PACKET = LONGEST - HEAD_SIZE
MAGIC = b"\x21\x12\xa4\x42"


class Kind(IntEnum):
    """What a message is; 1 and 2 are of a protocol before this one, and refused."""

    PACKET = 3
    CLOSE = 4
    HEALTH_CHECK = 5
    AUTH = 6
    AUTH_RESPONSE = 7
    SUBSCRIBE = 8
    UNSUBSCRIBE = 9
    ONLINE = 10
    OFFLINE = 11


FROM_PEERS = frozenset({Kind.PACKET, Kind.CLOSE, Kind.HEALTH_CHECK, Kind.AUTH, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE})
FROM_RELAYS = frozenset({Kind.PACKET, Kind.CLOSE, Kind.HEALTH_CHECK, Kind.AUTH_RESPONSE, Kind.ONLINE, Kind.OFFLINE})
CLOSE = bytes((VERSION, Kind.CLOSE))
HEALTH_CHECK = bytes((VERSION, Kind.HEALTH_CHECK))


@attrs.frozen
class Packet:
    """A packet; to a relay: for that peer, from a relay: from it."""

    peer: RelayPeerID
    payload: bytes


@attrs.frozen
class Close:
    """The other side is about to close."""


@attrs.frozen
class HealthCheck:
    """A relay's question whether the peer is there, and the answer."""


@attrs.frozen
class Auth:
    """A peer says who it is, and shows the token that management gave it."""

    peer: RelayPeerID
    token: bytes = attrs.field(repr=False)


@attrs.frozen
class AuthResponse:
    """The token is good; the relay says at which URL other peers find it."""

    url: str


@attrs.frozen
class PeerList:
    """Peers to watch, no longer to watch, that have come, or that are gone, as the kind says."""

    kind: Kind
    peers: tuple[RelayPeerID, ...]


Message = Packet | Close | HealthCheck | Auth | AuthResponse | PeerList


def relay_peer_id(key: PublicKey) -> RelayPeerID:
    """The id of the peer with that key: a hash of the key's text, not of its bytes."""
    return RelayPeerID(ID_PREFIX + hashlib.sha256(key.text.encode()).digest())


def id_text(id: RelayPeerID) -> str:
    """An id for people."""
    return ID_PREFIX.decode() + base64.b64encode(id[len(ID_PREFIX) :]).decode()


def packet_head(id: RelayPeerID) -> bytes:
    """The head of a packet for that peer, or from it; the payload follows."""
    return bytes((VERSION, Kind.PACKET)) + id


def encode(message: Message) -> bytes:
    """The bytes of a message.

    Raises:
        ProtocolError: It would be longer than the protocol allows.
    """
    match message:
        case Packet(peer, payload):
            made = packet_head(peer) + payload
        case Close():
            made = CLOSE
        case HealthCheck():
            made = HEALTH_CHECK
        case Auth(peer, token):
            made = bytes((VERSION, Kind.AUTH)) + MAGIC + peer + token
        case AuthResponse(url):
            made = bytes((VERSION, Kind.AUTH_RESPONSE)) + url.encode()
        case PeerList(kind, peers):
            made = bytes((VERSION, kind)) + b"".join(peers)
    if len(made) > (LONGEST_AUTH if isinstance(message, Auth) else LONGEST):
        raise ProtocolError(f"a relay message of {len(made)} bytes is too long")
    return made


def encode_lists(kind: Kind, peers: Iterable[RelayPeerID]) -> Iterator[bytes]:
    """Lists of peers in as many messages as they need; none for no peer."""
    ids = list(peers)
    for at in range(0, len(ids), IDS_OF_A_MESSAGE):
        yield encode(PeerList(kind, tuple(ids[at : at + IDS_OF_A_MESSAGE])))


def decode(data: Buffer, allowed: frozenset[Kind]) -> Message:
    """A message of one of the kinds that its sender may send; nothing of it refers to *data*.

    Raises:
        ProtocolError: It is none.
    """
    if not 2 <= len(data) <= LONGEST:
        raise ProtocolError(f"a relay message has 2 to {LONGEST} bytes, not {len(data)}")
    if data[0] != VERSION:
        raise ProtocolError(f"relay message of version {data[0]}; only {VERSION} is known")
    if data[1] not in allowed:
        raise ProtocolError(f"relay message of kind {data[1]}: unknown, or not the sender's to send")
    kind, body = Kind(data[1]), bytes(data[2:])
    if kind is Kind.PACKET:
        return Packet(_id(body), body[ID_SIZE:])
    if kind in (Kind.CLOSE, Kind.HEALTH_CHECK):
        return Close() if kind is Kind.CLOSE else HealthCheck()
    if kind is Kind.AUTH:
        return _auth(body)
    if kind is Kind.AUTH_RESPONSE:
        return AuthResponse(_url(body))
    if not body or len(body) % ID_SIZE:
        raise ProtocolError(f"a list of peers has a multiple of {ID_SIZE} bytes, not {len(body)}")
    return PeerList(kind, tuple(_id(body[at:]) for at in range(0, len(body), ID_SIZE)))


def _id(body: bytes) -> RelayPeerID:
    if len(body) < ID_SIZE:
        raise ProtocolError("a relay message is too short for the id of a peer")
    if not body.startswith(ID_PREFIX):
        raise ProtocolError("the id of a peer on a relay begins with sha-")
    return RelayPeerID(body[:ID_SIZE])


def _auth(body: bytes) -> Auth:
    if len(body) + 2 > LONGEST_AUTH:
        raise ProtocolError(f"an authentication has at most {LONGEST_AUTH} bytes")
    if not body.startswith(MAGIC):
        raise ProtocolError("an authentication does not begin with the magic bytes")
    rest = body[len(MAGIC) :]
    return Auth(_id(rest), rest[ID_SIZE:])


def _url(body: bytes) -> str:
    text = body.decode("latin-1")
    RelayAddress.parse(text)
    return text
