"""Everything of one account at one moment: what network maps are computed from."""

from collections.abc import Mapping
from functools import cached_property

import attrs

from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.model.ids import GroupID, PeerID, PolicyID, SetupKeyID, TokenID, UserID
from meshloom.model.keys import PublicKey
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy
from meshloom.model.setup_key import SetupKey
from meshloom.model.user import PersonalAccessToken, User

ENTITIES: tuple[type, ...] = (Account, User, PersonalAccessToken, Group, Policy, SetupKey, Peer)
"""Every stored class; those referred to come before those that refer."""


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
    def peer_by_key(self) -> Mapping[PublicKey, Peer]:
        """Peers by their public keys."""
        return {peer.key: peer for peer in self.peers.values()}
