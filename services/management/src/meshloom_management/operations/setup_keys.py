"""Setup keys: made, changed, revoked, deleted; their use is a matter of enrolment."""

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import timedelta

import attrs

from meshloom.model.ids import GroupID, SetupKeyID
from meshloom.model.setup_key import SetupKey, SetupKeyType
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.errors import InvalidArgument, NotFound
from meshloom_management.operations.names import checked_name

_KEY = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_SHOWN = 5
"""How many of its characters a key may be recognised by."""


@attrs.frozen(kw_only=True)
class Wish:
    """What a new key shall be.

    Args:
        expires_in: Seconds; 0 for never.
    """

    name: str
    type: str
    expires_in: int
    auto_groups: Sequence[str]
    usage_limit: int
    ephemeral: bool
    allow_extra_dns_labels: bool


def new_key() -> str:
    """The text of a key, as people type it."""
    return str(uuid.uuid4()).upper()


def create(draft: Draft, wish: Wish, key: str) -> SetupKey:
    """Make a key. Only its hash and first characters are kept.

    Raises:
        InvalidArgument: The wish breaks a rule.
    """
    checked_name(wish.name, "setup key")
    if wish.type not in set(SetupKeyType):
        raise InvalidArgument(f"unknown setup key type {wish.type}")
    kind = SetupKeyType(wish.type)
    if wish.expires_in < 0:
        raise InvalidArgument("expiresIn can not be in the past")
    if wish.usage_limit < 0:
        raise InvalidArgument(f"usage_limit {wish.usage_limit} is below 0; use 0 for a key without a limit")
    if kind is SetupKeyType.ONE_OFF and wish.usage_limit not in (0, 1):
        raise InvalidArgument(
            f"usage_limit {wish.usage_limit} is not valid for a one-off setup key, which can be used once; "
            "use type reusable for a key that can be used more than once"
        )
    try:
        expires_at = draft.now + timedelta(seconds=wish.expires_in) if wish.expires_in else None
    except OverflowError:
        raise InvalidArgument("expires_in is too large") from None
    made = SetupKey(
        id=SetupKeyID(draft.new_id()),
        account_id=draft.state.account.id,
        hashed=hash_of(key),
        hint=f"{key[:_SHOWN]}****",
        name=wish.name,
        type=kind,
        created_at=draft.now,
        updated_at=draft.now,
        expires_at=expires_at,
        auto_groups=_checked_groups(draft.state, wish.auto_groups),
        usage_limit=1 if kind is SetupKeyType.ONE_OFF else wish.usage_limit,
        ephemeral=wish.ephemeral,
        allow_extra_dns_labels=wish.allow_extra_dns_labels,
    )
    draft.put(made)
    return made


def update(draft: Draft, id: SetupKeyID, *, auto_groups: Sequence[str] | None, revoked: bool) -> SetupKey:
    """Say which groups its peers join, and whether it is good no more.

    Raises:
        InvalidArgument: The groups cannot be, or a revoked key would become good again.
        NotFound: There is no such key.
    """
    if auto_groups is None:
        raise InvalidArgument("setup key AutoGroups field is invalid")
    groups = _checked_groups(draft.state, auto_groups)
    key = existing(draft.state, id)
    if key.revoked and not revoked:
        raise InvalidArgument("can't un-revoke a revoked setup key")
    changed = attrs.evolve(key, auto_groups=groups, revoked=revoked, updated_at=draft.now)
    draft.put(changed)
    return changed


def delete(draft: Draft, id: SetupKeyID) -> None:
    """Forget a key; the peers that it enrolled stay.

    Raises:
        NotFound: There is no such key.
    """
    existing(draft.state, id)
    draft.delete(SetupKey, id)


def existing(state: AccountState, id: str) -> SetupKey:
    """The key with that id.

    Raises:
        NotFound: There is none.
    """
    key = state.setup_keys.get(SetupKeyID(id))
    if key is None:
        raise NotFound(f"setup key: {id} not found")
    return key


def hint_of(text: str) -> str:
    """Returns what may be shown of a key, in upper case; of a text that is not one, that it is none."""
    return f"{text[:_SHOWN].upper()}****" if _KEY.fullmatch(text) else "(a text that is not one)"


def hash_of(key: str) -> str:
    """What is kept of a key: people type it in any case."""
    return hashlib.sha256(key.upper().encode()).hexdigest()


def _checked_groups(state: AccountState, groups: Sequence[str]) -> tuple[GroupID, ...]:
    for id in groups:
        group = state.groups.get(GroupID(id))
        if group is None:
            raise InvalidArgument(f"invalid auto groups: group not found: {id}")
        if group.is_all:
            raise InvalidArgument("invalid auto groups: can't add 'All' group to the setup key")
    return tuple(GroupID(id) for id in groups)
