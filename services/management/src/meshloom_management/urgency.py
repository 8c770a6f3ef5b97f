"""How soon the peers that a change concerns must have it."""

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from meshloom.model.ids import AccountID, GroupID, PeerID
from meshloom.model.policy import Action
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change

FEW: Final = 16
"""Peers that are told at once whatever the others wait for."""
ALONE: Final = 5.0
"""Seconds without another peer that came, after which one counts as coming alone."""


class Urgency(IntEnum):
    """The lower, the sooner."""

    NOW = 0
    """A first map, or what concerns few."""
    LOSS = 1
    """Access may be taken away."""
    CHANGE = 2
    """Anything else, a peer that comes alone among it."""
    GROWTH = 3
    """Peers come one after the other, or change what others see of them."""


class Arrivals:
    """When the last peer came to each account.

    Args:
        clock: Seconds, monotone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[AccountID, float] = {}

    def urgency(self, account: AccountID, urgency: Urgency) -> Urgency:
        """Returns how urgent a change is, now that it is known whether others like it came lately."""
        if urgency is not Urgency.GROWTH:
            return urgency
        now = self._clock()
        last, self._last[account] = self._last.get(account), now
        return urgency if last is not None and now - last < ALONE else Urgency.CHANGE


def urgency_of(change: Change, before: AccountState, after: AccountState, concerned: int) -> Urgency:
    """Returns how soon so many peers must have a change; what may take access away counts as that."""
    if concerned <= FEW:
        return Urgency.NOW
    if takes_away(change, before, after):
        return Urgency.LOSS
    if change.policies or change.settings:
        return Urgency.CHANGE
    return Urgency.GROWTH


def takes_away(change: Change, before: AccountState, after: AccountState) -> bool:
    """Whether a peer or a member of a group has gone, a user's logins or a rule may allow less, or a rule refuses."""
    if change.users or change.peers - after.peers.keys():
        return True
    if any(_members(before, group) - _members(after, group) for group in change.groups):
        return True
    for policy in change.policies:
        old, new = before.policies.get(policy), after.policies.get(policy)
        if old is not None and old.enabled:
            return True
        if new is not None and any(rule.action is Action.DROP for rule in new.rules):
            return True
    return False


def _members(state: AccountState, group: GroupID) -> frozenset[PeerID]:
    known = state.groups.get(group)
    return known.peers if known else frozenset()
