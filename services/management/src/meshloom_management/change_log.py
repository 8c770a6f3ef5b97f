"""What happens to accounts, for the operator: a line of the log for each change that somebody made, and counts."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.model.ids import SetupKeyID
from meshloom.model.peer import Peer
from meshloom.model.setup_key import SetupKey
from meshloom.model.state import AccountState
from meshloom.model.user import PersonalAccessToken, User
from meshloom_management.draft import COLLECTIONS

_log = logging.getLogger(__name__)

Key = tuple[type[Any], str]
_USES: Final = frozenset({"last_used", "used_times", "updated_at", "last_login"})
"""Fields that are written with every use: they say nothing of what somebody decided."""


class ChangeLog:
    """Tells and counts the changes of all accounts.

    Args:
        joined: Called for each machine that joined.
        removed: Called for each that was removed.
    """

    def __init__(self, joined: Callable[[], None] = lambda: None, removed: Callable[[], None] = lambda: None) -> None:
        self._joined, self._removed = joined, removed

    def written(self, before: AccountState, written: Mapping[Key, Any], authors: Mapping[Key, str]) -> None:
        """Takes note of the writes of one transaction.

        Args:
            before: The account without them.
            written: What was put, or None for what was deleted, by class and id.
            authors: Who made them, where it is known.
        """
        for (kind, id), new in written.items():
            if kind is Peer and (id in before.peers) != (new is not None):
                (self._removed if new is None else self._joined)()
        for line in changes(before, written, authors):
            _log.info("%s", line)


def changes(before: AccountState, written: Mapping[Key, Any], authors: Mapping[Key, str]) -> Iterator[str]:
    """Yields a sentence for each change that a person should find in the log; see :meth:`ChangeLog.written`."""
    for (kind, id), new in written.items():
        author = authors.get((kind, id), "")
        by = f" by {author}" if author else ""
        if kind is Account:
            yield from _account(before.account, new, by)
            continue
        old = getattr(before, COLLECTIONS[kind]).get(id)
        what = _named(old if new is None else new, before, written)
        if old is None:
            yield f"{what} joined{_with_key(new, before)}" if kind is Peer else f"{what} was made{by}"
        elif new is None:
            yield f"{what} was removed{by}"
        elif told := _difference(old, new, is_decided=bool(author)):
            yield f"{what} was changed{by}: {told}"


def _account(old: Account, new: Account, by: str) -> Iterator[str]:
    if old is new:
        yield f"account {new.id} was made{by}"
    elif told := _difference(old.settings, new.settings, is_decided=True):
        yield f"settings of account {new.id} were changed{by}: {told}"


def _named(entity: Any, before: AccountState, written: Mapping[Key, Any]) -> str:
    match entity:
        case Peer():
            text = f"machine {entity.name!r} ({entity.ip})"
        case SetupKey():
            text = f"setup key {entity.name!r} ({entity.hint})"
        case PersonalAccessToken():
            user = written.get((User, entity.user_id)) or before.users.get(entity.user_id)
            text = f"token {entity.name!r} of {_user(user)}, good until {entity.expires_at:%Y-%m-%d %H:%M} UTC,"
        case User():
            text = f"{'service user' if entity.is_service_user else 'user'} {_user(entity)} ({entity.role})"
        case _:
            text = f"{type(entity).__name__.lower()} {entity.name!r}"
    return text


def _user(user: User | None) -> str:
    return repr(user.email or user.name or user.id) if user is not None else "a user who is gone"


def _with_key(peer: Peer, before: AccountState) -> str:
    key = before.setup_keys.get(SetupKeyID(peer.setup_key_id))
    return f" with setup key {key.name!r} ({key.hint})" if key is not None else ""


def _difference(old: Any, new: Any, *, is_decided: bool) -> str:
    """Returns which fields differ, with their values where these are short; empty where only uses were noted."""
    match new:
        case Peer():
            names = ["name", "dns_label", "ip", "ipv6", "ssh_enabled", "login_expiration_enabled"]
            names += ["inactivity_expiration_enabled"]
        case Group() if new.is_all or not is_decided:  # machines that join and leave are told themselves
            return ""
        case _:
            names = [field.name for field in attrs.fields(type(new)) if field.name not in _USES]
    told = [_field(name, getattr(old, name), getattr(new, name)) for name in names]
    return ", ".join(text for text in told if text)


def _field(name: str, old: Any, new: Any) -> str:
    if old == new:
        return ""
    if isinstance(new, frozenset):
        return f"{name} +{len(new - old)} -{len(old - new)}"
    if "hash" in name:
        return "password" if "password" in name else name
    return name if isinstance(new, (tuple, dict)) else f"{name} {_value(old)} -> {_value(new)}"


def _value(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
