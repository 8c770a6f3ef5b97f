"""Which peers have connections with which, as the policies say."""

from collections.abc import Iterable

from meshloom.model.ids import GroupID, PeerID
from meshloom.model.state import AccountState


def reachable_from(state: AccountState, peer: PeerID) -> frozenset[PeerID]:
    """The peers that a peer may reach, or that may reach it."""
    found: set[PeerID] = set()
    for policy in state.policies.values():
        for rule in policy.rules if policy.enabled else ():
            if rule.enabled:
                sources = _members(state, rule.sources, rule.source_peer)
                destinations = _members(state, rule.destinations, rule.destination_peer)
                found |= destinations if peer in sources else set()
                found |= sources if peer in destinations else set()
    return frozenset(found & state.peers.keys()) - {peer}


def _members(state: AccountState, groups: Iterable[GroupID], one: PeerID | None) -> set[PeerID]:
    members = {one} if one is not None else set()
    return members.union(*(state.groups[id].peers for id in groups if id in state.groups))
