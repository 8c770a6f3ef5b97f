"""``/api/users``: who may use the API, and what the caller himself may do."""

from datetime import datetime

import attrs

from meshloom.model.state import AccountState
from meshloom.model.user import Role, User
from meshloom_management.api.endpoint import Call, Endpoint
from meshloom_management.api.json import NEVER, optional
from meshloom_management.api.permissions import Module, Operation, denial, permissions_of
from meshloom_management.errors import InvalidArgument, PermissionDenied

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


@attrs.frozen
class PermissionsAnswer:
    """What a user may do.

    Args:
        is_restricted: Whether he sees nothing but himself.
        modules: For each kind of thing: what may be done with it.
    """

    is_restricted: bool
    modules: dict[str, dict[str, bool]]


@attrs.frozen
class UserAnswer:
    """A person, or a machine that uses the API.

    Args:
        permissions: With the current user only.
    """

    id: str
    email: str
    name: str
    role: str
    status: str
    auto_groups: list[str]
    is_current: bool
    is_service_user: bool
    is_blocked: bool
    last_login: datetime | str
    pending_approval: bool = False
    issued: str = "api"
    idp_id: str | None = optional()
    permissions: PermissionsAnswer | None = optional()


def _answer(user: User, caller: User, permissions: PermissionsAnswer | None = None) -> UserAnswer:
    return UserAnswer(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role.value,
        status="blocked" if user.is_blocked else "active",
        auto_groups=sorted(user.auto_groups),
        is_current=user.id == caller.id,
        is_service_user=user.is_service_user,
        is_blocked=user.is_blocked,
        last_login=user.last_login or NEVER,
        idp_id=None if user.is_service_user else "local",
        permissions=permissions,
    )


def _permissions(state: AccountState, user: User) -> PermissionsAnswer:
    allowed = permissions_of(user)
    return PermissionsAnswer(
        is_restricted=not allowed or (user.role is Role.USER and state.account.settings.regular_users_view_blocked),
        modules={
            module.value: {operation.value: operation in operations for operation in Operation}
            for module, operations in allowed.items()
        },
    )


async def _list(call: Call) -> list[UserAnswer]:
    machines = _flag(call.query.get("service_user", ""))
    if call.may(Module.USERS, Operation.READ):
        seen = list(call.state.users.values())
    elif call.user.role is Role.USER:
        seen = [call.user]
    else:
        raise PermissionDenied(denial(call.user))
    wanted = [user for user in seen if machines is None or user.is_service_user is machines]
    return [_answer(user, call.user) for user in sorted(wanted, key=lambda user: user.id)]


async def _current(call: Call) -> UserAnswer:
    if call.user.is_service_user:
        raise PermissionDenied("permission denied")
    return _answer(call.user, call.user, _permissions(call.state, call.user))


def _flag(text: str) -> bool | None:
    if not text:
        return None
    if text not in _TRUE | _FALSE:
        raise InvalidArgument("invalid service_user query parameter")
    return text in _TRUE


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/users",
        summary="List the users of the account; whoever may not see them sees himself.",
        run=_list,
        response=list[UserAnswer],
        query={"service_user": "true for machines only, false for people only."},
    ),
    Endpoint(
        method="GET",
        path="/api/users/current",
        summary="Show the caller and what he may do.",
        run=_current,
        response=UserAnswer,
    ),
)
