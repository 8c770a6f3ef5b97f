"""Groups: what an administrator may do with them."""

from collections.abc import Iterable, Iterator

import attrs

from meshloom.model.group import Group
from meshloom.model.ids import GroupID, PeerID
from meshloom.model.state import AccountState
from meshloom_management.accounts import Draft
from meshloom_management.errors import AlreadyExists, InvalidArgument, NotFound, RuleError
from meshloom_management.operations.addresses import readdress
from meshloom_management.operations.names import checked_name


class GroupInUse(RuleError):
    """Something would speak of a group that is gone."""


def create(draft: Draft, name: str, peers: Iterable[str]) -> Group:
    """Make a group. Peers that there are not are left out.

    Raises:
        InvalidArgument: The name cannot be.
        AlreadyExists: Another group has it.
    """
    checked_name(name, "group")
    _check_free(draft.state, name)
    group = Group(
        id=GroupID(draft.new_id()), account_id=draft.state.account.id, name=name, peers=_known(draft.state, peers)
    )
    draft.put(group)
    return group


def update(draft: Draft, id: GroupID, name: str, peers: Iterable[str]) -> Group:
    """Rename a group and say who is in it.

    Raises:
        InvalidArgument: The name cannot be, or it is the group of all.
        AlreadyExists: Another group has the name.
        NotFound: There is no such group.
    """
    checked_name(name, "group")
    group = existing(draft.state, id)
    if group.is_all:
        raise InvalidArgument("updating group all is not allowed")
    if name != group.name:  # one of two that an older version let have the same name may keep it
        _check_free(draft.state, name)
    changed = attrs.evolve(group, name=name, peers=_known(draft.state, peers))
    if changed != group:
        draft.put(changed)
        _readdress(draft, id)
    return changed


def delete(draft: Draft, id: GroupID) -> None:
    """Remove a group that nothing speaks of.

    Raises:
        NotFound: There is no such group.
        GroupInUse: Something does, or it is the group of all.
    """
    group = existing(draft.state, id)
    if group.is_all:
        raise GroupInUse("deleting group ALL is not allowed")
    for user in _users_of(draft.state, id):
        raise GroupInUse(f"group has been linked to {user}")
    draft.delete(Group, id)
    _readdress(draft, id)
    settings = draft.state.account.settings
    if id in settings.ipv6_enabled_groups:
        changed = attrs.evolve(settings, ipv6_enabled_groups=settings.ipv6_enabled_groups - {id})
        draft.put(attrs.evolve(draft.state.account, settings=changed))


def existing(state: AccountState, id: str) -> Group:
    """The group with that id.

    Raises:
        NotFound: There is none.
    """
    group = state.groups.get(GroupID(id))
    if group is None:
        raise NotFound(f"group: {id} not found")
    return group


def _check_free(state: AccountState, name: str) -> None:
    if any(group.name == name for group in state.groups.values()):
        raise AlreadyExists(f"group with name {name} already exists")


def _readdress(draft: Draft, group: GroupID) -> None:
    """Whoever joins or leaves such a group gets or loses an address."""
    if group in draft.state.account.settings.ipv6_enabled_groups:
        readdress(draft)


def _known(state: AccountState, peers: Iterable[str]) -> frozenset[PeerID]:
    return frozenset(PeerID(peer) for peer in peers if peer in state.peers)


def _users_of(state: AccountState, id: GroupID) -> Iterator[str]:
    for policy in state.policies.values():
        if any(id in rule.sources or id in rule.destinations for rule in policy.rules):
            yield f"policy: {policy.name}"
    for key in state.setup_keys.values():
        if id in key.auto_groups:
            yield f"setup key: {key.name}"
    for user in state.users.values():
        if id in user.auto_groups:
            yield f"user: {user.id}"
