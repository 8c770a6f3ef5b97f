"""Everything of one account at one moment: what network maps are computed from."""

from collections import Counter
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
    """What peers of an account have: addresses, as numbers, and first labels of names, which one peer may have only.

    Attributes:
        extras: Further labels, which several peers may have, with the number of those that do.
    """

    ips: AbstractSet[int]
    ipv6s: AbstractSet[int]
    labels: AbstractSet[str]
    extras: Mapping[str, int]

    @classmethod
    def by(cls, peers: Iterable[Peer]) -> Self:
        """What these peers have."""
        return cls(frozenset(), frozenset(), frozenset(), {}).replaced((None, peer) for peer in peers)

    def replaced(self, changes: Iterable[tuple[Peer | None, Peer | None]]) -> Self:
        """With each first peer's things given back, and each second one's taken."""
        changes = list(changes)
        held = [(_held(old), _held(new)) for old, new in changes]
        held = [(old, new) for old, new in held if old != new]
        columns: list[AbstractSet[Any]] = [self.ips, self.ipv6s, self.labels]
        for place, column in enumerate(list(columns) if held else ()):
            changed: set[Any] = set(column)
            changed.difference_update(old[place] for old, _ in held)
            changed.update(new[place] for _, new in held)
            changed.discard(None)
            columns[place] = changed
        ips, ipv6s, labels = columns
        return type(self)(ips, ipv6s, labels, self._extras(changes))

    def _extras(self, changes: Iterable[tuple[Peer | None, Peer | None]]) -> Mapping[str, int]:
        changes = [(old, new) for old, new in changes if _extras_of(old) != _extras_of(new)]
        if not changes:
            return self.extras
        extras = Counter(self.extras)
        for old, new in changes:
            extras.subtract(_extras_of(old))
            extras.update(_extras_of(new))
        return +extras


def _held(peer: Peer | None) -> tuple[int | None, int | None, str | None]:
    if peer is None:
        return None, None, None
    return int(peer.ip), int(peer.ipv6) if peer.ipv6 else None, peer.dns_label


def _extras_of(peer: Peer | None) -> frozenset[str]:
    return frozenset() if peer is None else frozenset(peer.extra_dns_labels)


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
