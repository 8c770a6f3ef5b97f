"""Users of an account, their roles, and the personal access tokens they use the API with."""

from datetime import datetime
from enum import StrEnum

import attrs

from meshloom.model.fields import indexed, reference
from meshloom.model.ids import AccountID, GroupID, TokenID, UserID


class Role(StrEnum):
    """What a user may do in the account."""

    OWNER = "owner"
    ADMIN = "admin"
    NETWORK_ADMIN = "network_admin"
    AUDITOR = "auditor"
    BILLING_ADMIN = "billing_admin"
    USER = "user"


@attrs.frozen(kw_only=True)
class User:
    """A person or, with ``is_service_user``, a machine that uses the API.

    Args:
        password_hash: An argon2id string; empty where the user cannot log in with a password.
        auto_groups: Groups that every peer of this user joins.
    """

    id: UserID
    account_id: AccountID = reference("Account")
    role: Role = Role.USER
    email: str = ""
    name: str = ""
    password_hash: str = attrs.field(default="", repr=False)
    is_service_user: bool = False
    is_blocked: bool = False
    auto_groups: frozenset[GroupID] = frozenset()
    created_at: datetime | None = None
    last_login: datetime | None = None


@attrs.frozen(kw_only=True)
class PersonalAccessToken:
    """A secret of a user for the API, kept as its SHA-256 only.

    Args:
        hashed: Hexadecimal SHA-256 of the whole token.
    """

    id: TokenID
    account_id: AccountID = reference("Account")
    user_id: UserID = reference("User")
    hashed: str = indexed(unique=True, repr=False)
    name: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used: datetime | None = None
