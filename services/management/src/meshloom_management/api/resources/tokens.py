"""``/api/users/{user}/tokens``: personal access tokens."""

from datetime import datetime

import attrs

from meshloom.model.ids import TokenID, UserID
from meshloom.model.state import AccountState
from meshloom.model.user import PersonalAccessToken, User
from meshloom_management.accounts import Draft
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.json import optional
from meshloom_management.api.permissions import Module, Operation, covers
from meshloom_management.errors import NotFound, PermissionDenied
from meshloom_management.operations import tokens


@attrs.frozen
class TokenRequest:
    """A new token.

    Args:
        expires_in: Days.
    """

    name: str = ""
    expires_in: int = 0


@attrs.frozen
class TokenAnswer:
    """A token, without its secret."""

    id: str
    name: str
    created_at: datetime
    created_by: str
    expiration_date: datetime
    last_used: datetime | None = optional()


@attrs.frozen
class GeneratedToken:
    """A new token with its secret, which is shown this once."""

    plain_token: str
    personal_access_token: TokenAnswer


def _answer(token: PersonalAccessToken) -> TokenAnswer:
    return TokenAnswer(token.id, token.name, token.created_at, token.created_by, token.expires_at, token.last_used)


def _owner(call: Call, state: AccountState) -> User:
    """Finds the user in the path, whose tokens the caller may see: the caller's own, or those of a machine."""
    user = state.users.get(UserID(call.path["user"]))
    if user is None:
        raise NotFound(f"user: {call.path['user']} not found")
    if user.id != call.user.id and not user.is_service_user:
        raise PermissionDenied("admin role required to perform this action")
    return user


def _governed(call: Call, state: AccountState) -> UserID:
    """Finds the user in the path, whose tokens the caller may make and delete, in the state that is written.

    A token gives all that its user may do, so the caller must hold all of that already.
    """
    owner, caller = _owner(call, state), state.users[call.user.id]
    if owner.id != caller.id and not covers(caller, owner):
        raise PermissionDenied("permission denied")
    return owner.id


def _found(call: Call) -> PersonalAccessToken:
    token = call.state.tokens.get(TokenID(call.path["token"]))
    if token is None or token.user_id != _owner(call, call.state).id:
        raise NotFound(f"pat: {call.path['token']} not found")
    return token


async def _list(call: Call) -> list[TokenAnswer]:
    owner = _owner(call, call.state)
    found = [token for token in call.state.tokens.values() if token.user_id == owner.id]
    return [_answer(token) for token in sorted(found, key=lambda token: (token.created_at, token.id))]


async def _get(call: Call) -> TokenAnswer:
    _owner(call, call.state)
    return _answer(_found(call))


async def _create(call: Call) -> GeneratedToken:
    wish, secret = call.body, tokens.new_token()

    def create(draft: Draft) -> PersonalAccessToken:
        owner = _governed(call, draft.state)
        return tokens.create(draft, owner, by=call.user.id, name=wish.name, days=wish.expires_in, token=secret)

    return GeneratedToken(secret, _answer(await call.change(create)))


async def _delete(call: Call) -> None:
    token = TokenID(call.path["token"])
    await call.change(lambda draft: tokens.delete(draft, _governed(call, draft.state), token))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/users/{user}/tokens",
        summary="List a user's tokens.",
        run=_list,
        permission=(Module.PATS, Operation.READ),
        response=list[TokenAnswer],
    ),
    Endpoint(
        method="POST",
        path="/api/users/{user}/tokens",
        summary="Make a token; its secret is shown this once.",
        run=_create,
        permission=(Module.PATS, Operation.CREATE),
        request=TokenRequest,
        response=GeneratedToken,
        secret=True,
    ),
    Endpoint(
        method="GET",
        path="/api/users/{user}/tokens/{token}",
        summary="Show a token, without its secret.",
        run=_get,
        permission=(Module.PATS, Operation.READ),
        response=TokenAnswer,
    ),
    Endpoint(
        method="DELETE",
        path="/api/users/{user}/tokens/{token}",
        summary="Take a token away.",
        run=_delete,
        permission=(Module.PATS, Operation.DELETE),
    ),
)
