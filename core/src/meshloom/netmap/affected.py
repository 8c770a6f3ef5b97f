"""Whom a change may concern: never too few; a peer whose map turns out the same is not sent it again."""

from meshloom.model.ids import GroupID, PeerID
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change
from meshloom.netmap.reach import Reach
from meshloom.netmap.ssh import speaks_of_ssh
from meshloom.netmap.versions import dns_forwarder_port, is_old_forwarder


def affected(change: Change, before: tuple[AccountState, Reach], after: tuple[AccountState, Reach]) -> set[PeerID]:
    """The peers whose network maps may differ between two snapshots."""
    if change.settings or _other_forwarder_port(change, before[0], after[0]):
        return {*before[0].peers, *after[0].peers}
    found: set[PeerID] = set(change.peers)
    for peer in change.peers:
        found |= before[1].visible(peer)
        found |= after[1].visible(peer)
    moved = {group: _members(before[0], group) ^ _members(after[0], group) for group in change.groups}
    for state, reach in (before, after):
        for effective in reach.rules:
            rule = effective.rule
            if effective.policy in change.policies:
                found |= effective.sources | effective.destinations
            if change.users:
                known = (state.peers[peer] for peer in effective.destinations if peer in state.peers)
                found |= {PeerID(peer.id) for peer in known if speaks_of_ssh(rule, peer)}
            for group in change.groups & (rule.sources | rule.destinations):
                if not moved[group]:
                    continue
                found |= moved[group]
                if group in rule.sources:
                    found |= effective.destinations
                if group in rule.destinations:
                    found |= effective.sources
    return found


def _members(state: AccountState, group: GroupID) -> frozenset[PeerID]:
    known = state.groups.get(group)
    return known.peers if known else frozenset()


def _other_forwarder_port(change: Change, before: AccountState, after: AccountState) -> bool:
    """The port is one for the whole account, and only a change of an old peer can change it."""
    if not any(is_old_forwarder(state.peers.get(peer)) for state in (before, after) for peer in change.peers):
        return False
    return dns_forwarder_port(before) != dns_forwarder_port(after)
