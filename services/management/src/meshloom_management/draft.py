"""One write to an account: what it sees, and what it has put and deleted so far."""

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs

from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy
from meshloom.model.setup_key import SetupKey
from meshloom.model.state import AccountState
from meshloom.model.user import PersonalAccessToken, User

COLLECTIONS: dict[type[Any], str] = {
    User: "users",
    PersonalAccessToken: "tokens",
    Group: "groups",
    Policy: "policies",
    SetupKey: "setup_keys",
    Peer: "peers",
}
"""The field of :class:`AccountState` that holds the entities of a class."""


def new_id(now: datetime, entropy: Callable[[int], bytes]) -> str:
    """20 characters [0-9a-v]: four bytes of seconds, so that ids sort by their making, and eight random ones."""
    raw = int(now.timestamp()).to_bytes(4) + entropy(8)
    return base64.b32hexencode(raw).decode().rstrip("=").lower()


class Draft:
    """Reads see the draft's own writes. Nothing of it is visible elsewhere until it is committed."""

    def __init__(self, state: AccountState, now: datetime, entropy: Callable[[int], bytes]) -> None:
        self.now = now
        self.entropy = entropy
        self.written: dict[tuple[type[Any], str], Any] = {}
        """What is put, or None for what is deleted, by class and id; in the order of the first write."""
        self._state: AccountState | None = state
        self._account = state.account
        self._collections: dict[str, dict[str, Any]] = {}
        self._before = state

    @property
    def state(self) -> AccountState:
        """The account with this draft's writes; what did not change is shared with the snapshot before."""
        if self._state is None:
            changed: dict[str, Any] = {"account": self._account, **self._collections}
            self._state = attrs.evolve(self._before, **changed)
            self._state.follow(self._before, [PeerID(id) for kind, id in self.written if kind is Peer])
        return self._state

    def put(self, entity: Any) -> None:
        """Insert the entity, or replace the one with its id."""
        if isinstance(entity, Account):
            self._account = entity
        else:
            if entity.account_id != self._account.id:
                raise ValueError(f"{type(entity).__name__} {entity.id} belongs to another account")
            self._own(type(entity))[entity.id] = entity
        self.written[type(entity), entity.id] = entity
        self._state = None

    def delete(self, kind: type[Any], id: str) -> None:
        """Remove it; what is not there is no error."""
        if self._own(kind).pop(id, None) is not None:
            if id in getattr(self._before, COLLECTIONS[kind]):
                self.written[kind, id] = None
            else:
                del self.written[kind, id]  # made and removed within the draft: the store never hears of it
            self._state = None

    def new_id(self) -> str:
        """For an entity to be made."""
        return new_id(self.now, self.entropy)

    def _own(self, kind: type[Any]) -> dict[str, Any]:
        """This draft's copy of a collection; a state that was handed out keeps the one it has."""
        name = COLLECTIONS[kind]
        mine = self._collections.get(name)
        if mine is None or (self._state is not None and getattr(self._state, name) is mine):
            mine = self._collections[name] = dict(getattr(self._state or self._before, name))
        return mine
