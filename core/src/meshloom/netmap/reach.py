"""Who reaches whom: policies of a snapshot, seen from each peer.

Sets of peers are shared between peers as one object wherever they are equal by construction, so that what is computed
of a set (encoded entries, say) can be kept by its identity.
"""

from collections.abc import Iterator

import attrs

from meshloom.model.ids import GroupID, PeerID, PolicyID
from meshloom.model.policy import Rule
from meshloom.model.state import AccountState

Peers = frozenset[PeerID]
NOBODY: Peers = frozenset()
MOST_KEPT = 1_000_000
"""Members of all unions that are kept; where few peers share a union, keeping it is no use."""


@attrs.frozen(eq=False)
class EffectiveRule:
    """An enabled rule of an enabled policy, with the peers of its sides."""

    policy: PolicyID
    rule: Rule
    sources: Peers
    destinations: Peers


@attrs.frozen(eq=False)
class Reached:
    """What one rule means to one peer: to whom it may connect, and who to it; the peer itself may be among them."""

    effective: EffectiveRule
    outbound: Peers
    inbound: Peers


class Reach:
    """The policies of one snapshot."""

    def __init__(self, state: AccountState) -> None:
        self._state = state
        self._unions: dict[tuple[int, int], tuple[Peers, Peers, Peers]] = {}
        self._kept = 0
        self._members: dict[frozenset[GroupID], Peers] = {}
        self.rules = [
            EffectiveRule(
                policy.id,
                rule,
                self._side(rule.sources, rule.source_peer),
                self._side(rule.destinations, rule.destination_peer),
            )
            for policy in state.policies.values()
            if policy.enabled
            for rule in policy.rules
            if rule.enabled
        ]

    def of(self, peer: PeerID) -> Iterator[Reached]:
        """The rules that speak of a peer, also where there is nobody on the other side."""
        for effective in self.rules:
            outbound = inbound = NOBODY
            is_source, is_destination = peer in effective.sources, peer in effective.destinations
            if is_source:
                outbound = effective.destinations
                if effective.rule.bidirectional:
                    inbound = effective.destinations
            if is_destination:
                inbound = self.union(inbound, effective.sources)
                if effective.rule.bidirectional:
                    outbound = self.union(outbound, effective.sources)
            if is_source or is_destination:
                yield Reached(effective, outbound, inbound)

    def visible(self, peer: PeerID) -> Peers:
        """All peers that a peer has to know, perhaps itself among them."""
        found = NOBODY
        for reached in self.of(peer):
            found = self.union(found, self.union(reached.outbound, reached.inbound))
        return found

    def union(self, left: Peers, right: Peers) -> Peers:
        """The same object for the same two."""
        if left is right or not right:
            return left
        if not left:
            return right
        if id(left) > id(right):
            left, right = right, left
        known = self._unions.get((id(left), id(right)))
        if known is None:
            merged = right if left <= right else left if right <= left else left | right
            if self._kept > MOST_KEPT:
                self._unions.clear()
                self._kept = 0
            self._kept += len(merged)
            known = self._unions[id(left), id(right)] = left, right, merged
        return known[2]

    def _side(self, groups: frozenset[GroupID], peer: PeerID | None) -> Peers:
        if peer is not None:
            return frozenset({peer}) if peer in self._state.peers else NOBODY
        known = self._members.get(groups)
        if known is None:
            known = NOBODY
            for group in groups:
                if group in self._state.groups:
                    known = self.union(known, self._state.groups[group].peers)
            self._members[groups] = known
        return known
