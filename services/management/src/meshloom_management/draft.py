"""One write to an account: what it sees, and what it has put and deleted so far."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
Mark = tuple[AccountState, dict[tuple[type[Any], str], Any]]


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
        self.authors: dict[tuple[type[Any], str], str] = {}
        """Who made each write, where that is known."""
        self._author = ""
        self._state: AccountState | None = state
        self._account = state.account
        self._collections: dict[str, dict[str, Any]] = {}
        self.before = self._handed = state
        """The snapshot that it was begun with."""
        self._peers: list[PeerID] = []
        """Those written since the newest state was handed out."""

    @property
    def state(self) -> AccountState:
        """The account with this draft's writes; what did not change is shared with the snapshot before."""
        if self._state is None:
            changed: dict[str, Any] = {"account": self._account, **self._collections}
            self._state = attrs.evolve(self.before, **changed)
            self._state.follow(self._handed, self._peers)
            self._handed, self._peers = self._state, []
        return self._state

    @contextmanager
    def by(self, author: str) -> Iterator[None]:
        """Names who makes the writes of the body."""
        self._author = author
        try:
            yield
        finally:
            self._author = ""

    def mark(self) -> Mark:
        """What :meth:`go_back` needs."""
        return self.state, dict(self.written)

    def go_back(self, mark: Mark) -> None:
        """Undo what was written since."""
        self._state, self.written = mark
        self._handed, self._peers = self._state, []
        self._account = self._state.account
        self._collections = {name: getattr(self._state, name) for name in self._collections}

    def put(self, entity: Any) -> None:
        """Insert the entity, or replace the one with its id."""
        if isinstance(entity, Account):
            self._account = entity
        else:
            if entity.account_id != self._account.id:
                raise ValueError(f"{type(entity).__name__} {entity.id} belongs to another account")
            self._own(type(entity))[entity.id] = entity
        self._write(type(entity), entity.id, entity)

    def delete(self, kind: type[Any], id: str) -> None:
        """Remove it; what is not there is no error."""
        if self._own(kind).pop(id, None) is not None:
            self._write(kind, id, None)
            if id not in getattr(self.before, COLLECTIONS[kind]):
                del self.written[kind, id]  # made and removed within the draft: the store never hears of it

    def new_id(self) -> str:
        """For an entity to be made."""
        return new_id(self.now, self.entropy)

    def _write(self, kind: type[Any], id: str, entity: Any) -> None:
        self.written[kind, id] = entity
        if self._author:
            self.authors[kind, id] = self._author
        if kind is Peer:
            self._peers.append(PeerID(id))
        self._state = None

    def _own(self, kind: type[Any]) -> dict[str, Any]:
        """This draft's copy of a collection; a state that was handed out keeps the one it has."""
        name = COLLECTIONS[kind]
        mine = self._collections.get(name)
        if mine is None or getattr(self._handed, name) is mine:
            mine = self._collections[name] = dict(getattr(self.before, name) if mine is None else mine)
        return mine
