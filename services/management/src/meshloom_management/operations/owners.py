"""Users as an administrator at the server's own machine names them, and what he may do for them."""

from collections.abc import Sequence

import attrs

from meshloom.model.state import AccountState
from meshloom.model.user import User
from meshloom_management.accounts import Accounts, Draft
from meshloom_management.errors import InvalidArgument, NotFound, PreconditionFailed

OWNER = "owner"
"""Names the user who owns the account, whoever that is."""
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 72


def checked_password(password: str) -> str:
    """Returns the password, where it is long enough and not too long.

    Raises:
        InvalidArgument: It is not.
    """
    if not password:
        raise InvalidArgument("password is required")
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidArgument(f"password must be at least {SHORTEST_PASSWORD} characters")
    if len(password) > LONGEST_PASSWORD:
        raise InvalidArgument(f"password must be at most {LONGEST_PASSWORD} characters")
    return password


def find_user(accounts: Accounts, name: str) -> tuple[AccountState, User]:
    """Finds a user of any account by ``owner``, id, email address or, for a service user, name.

    Raises:
        PreconditionFailed: No account exists yet.
        NotFound: No user is called so.
        InvalidArgument: Several are.
    """
    states = accounts.all().values()
    if not states:
        raise PreconditionFailed("no account exists yet: `meshloom-server owner create EMAIL` makes it and its owner")
    found = [(state, user) for state in states for user in state.users.values() if _is_called(state, user, name)]
    if not found:
        listed = ", ".join(
            sorted(user.email or user.name or user.id for state in states for user in state.users.values())
        )
        raise NotFound(f"no user is called {name!r}; the users are: {listed}")
    if len(found) > 1:
        listed = ", ".join(sorted(user.id for _, user in found))
        raise InvalidArgument(f"several users are called {name!r}: give an id, one of {listed}")
    return found[0]


def find_groups(state: AccountState, names: Sequence[str]) -> list[str]:
    """Finds the ids of groups that are called by id or name.

    Raises:
        NotFound: No group is called so.
    """
    found: list[str] = []
    for name in names:
        ids = [group.id for group in state.groups.values() if name in (group.id, group.name)]
        if not ids:
            listed = ", ".join(sorted(group.name for group in state.groups.values()))
            raise NotFound(f"no group is called {name!r}; the groups are: {listed}")
        found += ids
    return found


def set_password(draft: Draft, user: User, password_hash: str) -> None:
    """Gives a user another password.

    Raises:
        NotFound: The user was deleted meanwhile.
    """
    current = draft.state.users.get(user.id)
    if current is None:
        raise NotFound(f"user: {user.id} not found")
    draft.put(attrs.evolve(current, password_hash=password_hash))


def _is_called(state: AccountState, user: User, name: str) -> bool:
    if name == OWNER:
        return user.id == state.account.created_by
    return name in (user.id, user.email) or (user.is_service_user and user.name == name)
