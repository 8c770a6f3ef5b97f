"""What a write changed, as far as any peer's network map may show it."""

from collections.abc import Mapping
from typing import Any, Self

import attrs

from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.model.ids import GroupID, PeerID, PolicyID, UserID
from meshloom.model.peer import Peer
from meshloom.model.policy import Policy
from meshloom.model.state import AccountState
from meshloom.model.user import User

PEER_FIELDS = (
    *("key", "ip", "ipv6", "dns_label", "ssh_key", "ssh_enabled", "login_expired", "extra_dns_labels"),
    "login_expiration_enabled",
)
"""Fields of a peer that maps show; the rest of it (``last_seen``, its name) is for people."""


@attrs.frozen
class Change:
    """Ids only, so that changes merge in any order; who sends reads the newest snapshot.

    Args:
        peers: Made, changed or removed, as far as maps show them.
        groups: Whose members changed, or that were made or removed.
        policies: Made, changed or removed, as far as maps show them.
        users: Made, changed or removed, as far as they may log in to peers.
        settings: The account's settings changed.
    """

    peers: frozenset[PeerID] = frozenset()
    groups: frozenset[GroupID] = frozenset()
    policies: frozenset[PolicyID] = frozenset()
    users: frozenset[UserID] = frozenset()
    settings: bool = False

    def __or__(self, other: Self) -> Self:
        mine, theirs = attrs.astuple(self, recurse=False), attrs.astuple(other, recurse=False)
        return type(self)(*(left | right for left, right in zip(mine, theirs, strict=True)))

    def __bool__(self) -> bool:
        return bool(self.peers or self.groups or self.policies or self.users or self.settings)

    @classmethod
    def between(cls, before: AccountState, written: Mapping[tuple[type[Any], str], Any]) -> Self:
        """What these writes (None: deleted) change of a snapshot."""
        peers, groups, policies, users, settings = set(), set(), set(), set(), False
        for (kind, id), new in written.items():
            if kind is Peer and shown(before.peers.get(PeerID(id))) != shown(new):
                peers.add(PeerID(id))
            elif kind is Group and _members(before.groups.get(GroupID(id))) != _members(new):
                groups.add(GroupID(id))
            elif kind is Policy and _rules(before.policies.get(PolicyID(id))) != _rules(new):
                policies.add(PolicyID(id))
            elif kind is User and _logins(before.users.get(UserID(id))) != _logins(new):
                users.add(UserID(id))
            elif kind is Account:
                settings = before.account.settings != new.settings
        return cls(frozenset(peers), frozenset(groups), frozenset(policies), frozenset(users), settings)


def shown(peer: Peer | None) -> Any:
    """What of a peer maps show, its own map and others'; to be compared."""
    if peer is None:
        return None
    meta = peer.meta
    facts = meta.agent_version, meta.capabilities, meta.flags.server_ssh_allowed, meta.flags.disable_ipv6
    return *(getattr(peer, name) for name in PEER_FIELDS), facts


def _members(group: Group | None) -> Any:
    return None if group is None else group.peers


def _rules(policy: Policy | None) -> Any:
    """What of a policy maps show; one that is switched off is as good as none."""
    if policy is None or not policy.enabled:
        return None
    rules = tuple(attrs.evolve(rule, name="", description="") for rule in policy.rules if rule.enabled)
    return rules or None


def _logins(user: User | None) -> Any:
    if user is None or user.is_service_user or user.is_blocked:
        return None
    return user.auto_groups
