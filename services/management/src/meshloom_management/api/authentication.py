"""Who asks: personal access tokens in the ``Authorization`` header."""

import logging
from datetime import datetime, timedelta

from meshloom.errors import StoreUnavailable
from meshloom.model.state import AccountState
from meshloom.model.user import User
from meshloom_management.accounts import Accounts
from meshloom_management.api.errors import Refused
from meshloom_management.operations import tokens

log = logging.getLogger(__name__)

_SCHEMES = {"token", "bearer"}
_NOTED = timedelta(minutes=1)
"""How exact a token's last use is: writing it down at every request would cost more than most requests."""


async def authenticate(accounts: Accounts, header: str | None, now: datetime) -> tuple[AccountState, User]:
    """The account and user whose token the header holds.

    Raises:
        Refused: It holds none, or none that is valid now.
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() not in _SCHEMES:
        raise Refused(401, "no valid authentication provided")
    found = accounts.find_token(token.strip())
    if found is None:
        raise Refused(401, "token invalid")
    state, user, record = found
    if now >= record.expires_at:
        raise Refused(401, "token invalid")
    if user.is_blocked:
        raise Refused(403, "user is blocked")
    if record.last_used is None or now - record.last_used >= _NOTED:
        try:
            await accounts.change(state.account.id, lambda draft: tokens.note_use(draft, record.id))
        except StoreUnavailable as error:  # no reason to hide what could be read
            log.warning("the use of a token is not noted: %s", error)
        state = accounts.state(state.account.id)
    return state, user
