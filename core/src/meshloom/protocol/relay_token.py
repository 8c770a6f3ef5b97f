"""Tokens that management signs and relays check, with a secret that both have.

A classic token is NetBird's: a time until which whoever holds it may be any peer. A named one says in addition which
peer of which account it was made for, and is good for that peer's id alone.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

import attrs

from meshloom.errors import ProtocolError
from meshloom.protocol.relay import ID_PREFIX, LONGEST_AUTH, RelayPeerID

ALGORITHM_SHA256 = 1
SIGNATURE_SIZE = 32
LONGEST_PAYLOAD = LONGEST_AUTH - 2 - 4 - 36 - 1 - SIGNATURE_SIZE
"""Characters of a payload, so that an authentication with it is not too long."""
_TIME = re.compile(r"[0-9]{10,20}", re.ASCII)
_NAMED = re.compile(
    r"m1:(?P<expires>[0-9]{10,20}):(?P<account>[A-Za-z0-9-]{1,48}):(?P<hash>[A-Za-z0-9+/]{43}=)", re.ASCII
)


@attrs.frozen
class RelayToken:
    """A token that was checked.

    Args:
        expires: Until when it is good, in seconds since 1970.
        left: Seconds until then when it was checked.
        mark: Tells tokens apart; holders of the same token have the same.
        peer: Whose id it is good for; None for any, as NetBird's are.
        account: The account of that peer; empty where it names none.
    """

    expires: int
    left: float
    mark: bytes = attrs.field(repr=False)
    peer: RelayPeerID | None = None
    account: str = ""


def secret_key(secret: str) -> bytes:
    """Returns what tokens are signed with, from the secret that relays and management share."""
    return hashlib.sha256(secret.encode()).digest()


def issue_token(secret: str, expires: int) -> tuple[str, str]:
    """Returns payload and signature of a classic token that is good until that time (seconds since 1970)."""
    return _signed(secret, str(expires))


def issue_named_token(secret: str, expires: int, account: str, peer: RelayPeerID) -> tuple[str, str]:
    """Returns payload and signature of a token that is good until that time, for one peer of an account."""
    return _signed(secret, f"m1:{expires}:{account}:{base64.b64encode(peer[len(ID_PREFIX) :]).decode()}")


def join_token(payload: str, signature: str) -> bytes:
    """Returns the token that a peer shows to a relay, from what management handed out.

    Raises:
        ProtocolError: The signature does not fit the one algorithm there is, or the payload is neither kind's.
    """
    try:
        signed = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        signed = b""
    if len(signed) != SIGNATURE_SIZE:
        raise ProtocolError("the signature of a relay's token is no HMAC-SHA256 in base64")
    if _read(payload) is None:
        raise ProtocolError("the payload of a relay's token is no time in seconds")
    return bytes((ALGORITHM_SHA256,)) + signed + payload.encode()


def check_token(token: bytes, keys: Sequence[bytes], now: float) -> RelayToken | str:
    """Returns the token, or in a word or two why it is not accepted.

    Args:
        token: As a peer showed it.
        keys: Of :func:`secret_key`; several where a secret is being replaced. Compared in constant time.
        now: Seconds since 1970.
    """
    signature, payload = token[1 : 1 + SIGNATURE_SIZE], token[1 + SIGNATURE_SIZE :]
    if not token or token[0] != ALGORITHM_SHA256 or len(signature) != SIGNATURE_SIZE:
        return "malformed"
    known = False
    for key in keys:
        known |= hmac.compare_digest(hmac.digest(key, payload, "sha256"), signature)
    if not known:
        return "wrong secret"
    read = _read(payload.decode("ascii", "replace"))
    if read is None:
        return "malformed"
    expires, account, peer = read
    return "expired" if now > expires else RelayToken(expires, expires - now, bytes(signature), peer, account)


def _signed(secret: str, payload: str) -> tuple[str, str]:
    signature = hmac.digest(secret_key(secret), payload.encode(), "sha256")
    return payload, base64.b64encode(signature).decode()


def _read(payload: str) -> tuple[int, str, RelayPeerID | None] | None:
    """Returns expiry, account and peer of a payload of either kind; None for any other text."""
    if len(payload) > LONGEST_PAYLOAD:
        return None
    if _TIME.fullmatch(payload):
        return int(payload), "", None
    if (match := _NAMED.fullmatch(payload)) is None:
        return None
    peer = RelayPeerID(ID_PREFIX + base64.b64decode(match["hash"]))
    return int(match["expires"]), match["account"], peer
