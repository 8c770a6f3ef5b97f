"""Everything of one account at one moment: what network maps are computed from."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, Self

import attrs

from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.model.ids import GroupID, PeerID, PolicyID, SetupKeyID, TokenID, UserID
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy
from meshloom.model.setup_key import SetupKey
from meshloom.model.user import PersonalAccessToken, User

ENTITIES: tuple[type, ...] = (Account, User, PersonalAccessToken, Group, Policy, SetupKey, Peer)
"""Every stored class; those referred to come before those that refer."""


@attrs.frozen(eq=False)
class Taken:
    """What only one peer of an account may have: addresses, as numbers, and first labels of names."""

    ips: AbstractSet[int]
    ipv6s: AbstractSet[int]
    labels: AbstractSet[str]

    @classmethod
    def by(cls, peers: Iterable[Peer]) -> Self:
        """What these peers have."""
        held = [_held(peer) for peer in peers]
        return cls(*(frozenset(column) - {None} for column in zip(*held, strict=True)) if held else (frozenset(),) * 3)

    def replaced(self, changes: Iterable[tuple[Peer | None, Peer | None]]) -> Self:
        """With each first peer's things given back, and each second one's taken."""
        held = [(_held(old), _held(new)) for old, new in changes]
        held = [(old, new) for old, new in held if old != new]
        if not held:
            return self
        columns = []
        for place, column in enumerate((self.ips, self.ipv6s, self.labels)):
            changed: set[Any] = set(column)
            changed.difference_update(old[place] for old, _ in held)
            changed.update(new[place] for _, new in held)
            changed.discard(None)
            columns.append(changed)
        return type(self)(*columns)


def _held(peer: Peer | None) -> tuple[int | None, int | None, str | None]:
    if peer is None:
        return None, None, None
    return int(peer.ip), int(peer.ipv6) if peer.ipv6 else None, peer.dns_label


@attrs.frozen(slots=False, eq=False)
class AccountState:
    """An immutable snapshot. Never changed in place: a change makes a new one that shares what did not change."""

    account: Account
    users: Mapping[UserID, User] = attrs.field(factory=dict)
    tokens: Mapping[TokenID, PersonalAccessToken] = attrs.field(factory=dict)
    groups: Mapping[GroupID, Group] = attrs.field(factory=dict)
    policies: Mapping[PolicyID, Policy] = attrs.field(factory=dict)
    setup_keys: Mapping[SetupKeyID, SetupKey] = attrs.field(factory=dict)
    peers: Mapping[PeerID, Peer] = attrs.field(factory=dict)

    @cached_property
    def all_group(self) -> Group:
        """The group of all peers."""
        return next(group for group in self.groups.values() if group.is_all)

    @cached_property
    def groups_of(self) -> Mapping[PeerID, frozenset[GroupID]]:
        """The groups of each peer that is in any."""
        found: dict[PeerID, set[GroupID]] = {}
        for group in self.groups.values():
            for peer in group.peers:
                found.setdefault(peer, set()).add(group.id)
        return {peer: frozenset(groups) for peer, groups in found.items()}

    @cached_property
    def taken(self) -> Taken:
        """What no further peer may have."""
        return Taken.by(self.peers.values())

    def follow(self, before: Self, peers: Iterable[PeerID]) -> None:
        """Take over what the snapshot before had worked out; ``peers`` are those that differ."""
        if "taken" in before.__dict__:
            changes = [(before.peers.get(id), self.peers.get(id)) for id in peers]
            self.__dict__["taken"] = before.taken.replaced(changes)
