"""What agents say to each other through the signal service: offers, answers, candidates; each sealed for its reader."""

from enum import IntEnum

import attrs
from google.protobuf.message import DecodeError

from meshloom.errors import ProtocolError
from meshloom.model.keys import PublicKey
from meshloom.protocol.relay_address import RelayAddress
from meshloom.rpc import signalexchange_pb2 as pb

MAX_BODY = 64 * 1024
SESSION_ID = 5
REPLACED = "peer registered again"
"""Begins the text with which a signal server ends a stream that another one of the same key has replaced."""
LONGEST_UFRAG = 256
"""Characters, as RFC 8839 section 5.4 has it."""


class SignalKind(IntEnum):
    """What a message is (wire: ``Body.Type``); unknown kinds are refused."""

    OFFER = 0
    ANSWER = 1
    CANDIDATE = 2
    MODE = 4
    GO_IDLE = 5
    HEARTBEAT = 6


@attrs.frozen
class Credentials:
    """ICE credentials of one side; not shown by ``repr``."""

    ufrag: str
    pwd: str = attrs.field(repr=False)


@attrs.frozen
class SignalMessage:
    """One message between two agents, opened.

    Args:
        other: Who sent it, or who shall get it.
        credentials: Of an offer or answer; None where the sender does not use ICE.
        session_id: 5 bytes that change when the sender's ICE session restarts; None where it told none.
        candidate: A candidate's line.
        wg_listen_port: The sender's WireGuard port.
        relay_address: The sender's home relay, as it wrote it; None where it has none, or told of something else.
        relay_refused: Whether it told of something that is not the address of a relay.
        goodbye: In a heartbeat, by which a NetBird client does nothing: the sender's agent with that ufrag ends.
        moved: In an offer or answer: the session began because the sender's network is another one.
    """

    kind: SignalKind
    other: PublicKey
    credentials: Credentials | None = None
    session_id: bytes | None = None
    candidate: str = ""
    wg_listen_port: int = 0
    version: str = ""
    relay_address: str | None = None
    relay_ip: bytes | None = None
    relay_refused: bool = False
    goodbye: str | None = None
    moved: bool = False

    def encode(self) -> bytes:
        """The plain body."""
        body = pb.Body(wgListenPort=self.wg_listen_port, netBirdVersion=self.version)
        body.type = int(self.kind)  # type: ignore[assignment]
        if self.kind is SignalKind.CANDIDATE:
            body.payload = self.candidate
        elif self.kind in (SignalKind.OFFER, SignalKind.ANSWER):
            body.payload = f"{self.credentials.ufrag}:{self.credentials.pwd}" if self.credentials else ":"
            body.rosenpassConfig.SetInParent()
            if self.session_id is not None:
                body.sessionId = self.session_id
            if self.relay_address is not None:
                body.relayServerAddress = self.relay_address
            if self.relay_ip is not None:
                body.relayServerIP = self.relay_ip
            body.moved = self.moved
        if self.goodbye is not None:
            body.goodbye = self.goodbye
        return body.SerializeToString()


def decode(data: bytes, sender: PublicKey) -> SignalMessage:
    """A plain body as a message.

    Raises:
        ProtocolError: It is too long, no body, of an unknown kind, or an offer without its two credentials.
    """
    if len(data) > MAX_BODY:
        raise ProtocolError(f"a signal message of {len(data)} bytes is too long")
    try:
        body = pb.Body.FromString(data)
        kind = SignalKind(body.type)
    except (DecodeError, ValueError) as error:
        raise ProtocolError("no signal message of a known kind") from error
    offer = kind in (SignalKind.OFFER, SignalKind.ANSWER)
    tells_relay = offer and body.HasField("relayServerAddress")
    relay = _relay(body.relayServerAddress) if tells_relay else None
    return SignalMessage(
        kind,
        sender,
        credentials=_credentials(body.payload) if offer else None,
        session_id=body.sessionId if len(body.sessionId) == SESSION_ID else None,
        candidate=body.payload if kind is SignalKind.CANDIDATE else "",
        wg_listen_port=body.wgListenPort if body.wgListenPort < 1 << 16 else 0,
        version=body.netBirdVersion[:64],
        relay_address=relay,
        relay_ip=body.relayServerIP if len(body.relayServerIP) in (4, 16) else None,
        relay_refused=tells_relay and relay is None,
        goodbye=body.goodbye[:LONGEST_UFRAG] if kind is SignalKind.HEARTBEAT and body.HasField("goodbye") else None,
        moved=offer and body.moved,
    )


def _relay(text: str) -> str | None:
    """Returns the text, which others compare letter by letter, if it is the address of a relay."""
    try:
        RelayAddress.parse(text)
    except ProtocolError:
        return None
    return text


def _credentials(payload: str) -> Credentials | None:
    parts = payload.split(":")
    if len(parts) != 2 or len(payload) > 520:
        raise ProtocolError("an offer's payload is ufrag:pwd")
    return Credentials(*parts) if all(parts) else None
