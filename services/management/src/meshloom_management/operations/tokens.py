"""Personal access tokens: made, deleted, used."""

import hashlib
import secrets
import string
import zlib
from datetime import timedelta

import attrs

from meshloom.model.ids import TokenID, UserID
from meshloom.model.user import PersonalAccessToken
from meshloom_management.accounts import Draft
from meshloom_management.errors import InvalidArgument, NotFound
from meshloom_management.operations.names import checked_name

PREFIX = "nbp_"
"""How tokens begin, so that scanners for leaked secrets know them."""
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 30
_CHECKSUM_LENGTH = 6
LONGEST_DAYS = 365


def new_token() -> str:
    """A secret of 178 random bits, with a checksum by which a mistyped one is known."""
    secret = "".join(secrets.choice(_DIGITS) for _ in range(_SECRET_LENGTH))
    return f"{PREFIX}{secret}{_checksum(secret)}"


def create(draft: Draft, user: UserID, *, by: UserID, name: str, days: int, token: str) -> PersonalAccessToken:
    """Give a user a token. Only its hash is kept.

    Raises:
        InvalidArgument: The name or the number of days cannot be.
        NotFound: There is no such user.
    """
    checked_name(name, "token", "token name can't be empty")
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidArgument(f"expiration has to be between 1 and {LONGEST_DAYS}")
    if user not in draft.state.users:
        raise NotFound(f"user: {user} not found")
    record = PersonalAccessToken(
        id=TokenID(draft.new_id()),
        account_id=draft.state.account.id,
        user_id=user,
        hashed=hash_of(token),
        name=name,
        created_at=draft.now,
        created_by=by,
        expires_at=draft.now + timedelta(days=days),
    )
    draft.put(record)
    return record


def delete(draft: Draft, user: UserID, token: TokenID) -> None:
    """Take a user's token away.

    Raises:
        NotFound: The user has no such token.
    """
    record = draft.state.tokens.get(token)
    if record is None or record.user_id != user:
        raise NotFound(f"pat: {token} not found")
    draft.delete(PersonalAccessToken, token)


def note_use(draft: Draft, token: TokenID) -> None:
    """Remember that a token was used now, unless it was deleted meanwhile."""
    record = draft.state.tokens.get(token)
    if record is not None:
        draft.put(attrs.evolve(record, last_used=draft.now))


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(secret: str) -> str:
    rest = zlib.crc32(secret.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
