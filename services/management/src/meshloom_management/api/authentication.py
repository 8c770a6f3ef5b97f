"""Who asks: personal access tokens in the ``Authorization`` header."""

import logging
from datetime import datetime, timedelta
from enum import StrEnum

import attrs

from meshloom.errors import StoreUnavailable
from meshloom.model.ids import AccountID, TokenID
from meshloom.model.state import AccountState
from meshloom.model.user import PersonalAccessToken, User
from meshloom_management.accounts import Accounts
from meshloom_management.api.errors import Refused
from meshloom_management.api.permissions import Need, denial, may
from meshloom_management.operations import tokens

log = logging.getLogger(__name__)

_SCHEMES = {"token", "bearer"}
_NOTED = timedelta(minutes=1)
"""How exact a token's last use is: writing it down at every request would cost more than most requests."""


class Reason(StrEnum):
    """Why a request is not authenticated."""

    NO_CREDENTIALS = "no_credentials"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105 - a reason, not a token
    EXPIRED_TOKEN = "expired_token"  # noqa: S105
    BLOCKED_USER = "blocked_user"
    SETUP_SECRET = "setup_secret"  # noqa: S105


class NotAuthenticated(Refused):
    """A request without good credentials.

    Attributes:
        account: The account whose token it showed; None where it showed none that ever was one.
    """

    def __init__(self, status: int, message: str, reason: Reason, account: AccountID | None = None) -> None:
        super().__init__(status, message)
        self.reason, self.account = reason, account


@attrs.frozen
class Caller:
    """A user who has shown a good token.

    Args:
        state: The user's account at that moment.
    """

    state: AccountState
    user: User
    token: PersonalAccessToken


def identify(accounts: Accounts, header: str | None, now: datetime) -> Caller:
    """Finds the user whose token the header holds.

    Raises:
        NotAuthenticated: The header holds no token, or none that is valid now.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() not in _SCHEMES:
        raise NotAuthenticated(401, "no valid authentication provided", Reason.NO_CREDENTIALS)
    found = accounts.find_token(token.strip())
    if found is None:
        raise NotAuthenticated(401, "token invalid", Reason.UNKNOWN_TOKEN)
    return valid(found[0], found[2].id, now)


def valid(state: AccountState, id: TokenID, now: datetime) -> Caller:
    """Finds the user of a token of that account, as the account is in *state*.

    Raises:
        NotAuthenticated: The token is gone or has expired, or its user is blocked.
    """
    token = state.tokens.get(id)
    if token is None:
        raise NotAuthenticated(401, "token invalid", Reason.UNKNOWN_TOKEN, state.account.id)
    if now >= token.expires_at:
        raise NotAuthenticated(401, "token invalid", Reason.EXPIRED_TOKEN, state.account.id)
    user = state.users[token.user_id]
    if user.is_blocked:
        raise NotAuthenticated(403, "user is blocked", Reason.BLOCKED_USER, state.account.id)
    return Caller(state, user, token)


async def authenticate(accounts: Accounts, header: str | None, now: datetime) -> Caller:
    """Finds the user whose token the header holds, and notes the token's use.

    Raises:
        NotAuthenticated: The header holds no token, or none that is valid now.
    """
    caller = identify(accounts, header, now)
    if caller.token.last_used is not None and now - caller.token.last_used < _NOTED:
        return caller
    try:
        await accounts.change(caller.state.account.id, lambda draft: tokens.note_use(draft, caller.token.id))
    except StoreUnavailable as error:  # no reason to hide what could be read
        log.warning("the use of a token is not noted: %s", error)
    return identify(accounts, header, now)  # the write may have waited behind the token's end


def check_permission(user: User, need: Need | None) -> None:
    """Refuses a user who lacks the permission; *need* is None where the endpoint looks itself.

    Raises:
        Refused: The user's role does not allow it.
    """
    if need is not None and not may(user, *need):
        raise Refused(403, denial(user))
