"""Policies seen from each peer: who may connect to whom."""

import pytest

from meshloom.model.ids import GroupID, PeerID
from meshloom.model.policy import Rule
from meshloom.model.state import AccountState
from meshloom.netmap.reach import Reach
from meshloom.testing import samples

A, B, C = PeerID("a"), PeerID("b"), PeerID("c")


def state_of(*policies, **groups):
    made = {name: samples.group(name, peers=frozenset(peers)) for name, peers in groups.items()}
    peers = {name: samples.peer(name) for name in (A, B, C)}
    return AccountState(samples.account(), groups=made, policies={p.id: p for p in policies}, peers=peers)


def rule_of(sources=(), destinations=(), **more):
    groups = {"sources": frozenset(map(GroupID, sources)), "destinations": frozenset(map(GroupID, destinations))}
    return Rule("r", "r", **{**groups, **more})


def policy_of(*rules, id="p", enabled=True):
    return samples.policy(id, rules=rules, enabled=enabled)


def told(state, peer):
    """(to whom, from whom) over all rules, without the peer itself."""
    outbound, inbound = set(), set()
    for reached in Reach(state).of(peer):
        outbound |= reached.outbound
        inbound |= reached.inbound
    return outbound - {peer}, inbound - {peer}


@pytest.mark.parametrize(
    ("peer", "both", "outbound", "inbound"),
    [
        (A, False, {B}, set()),
        (B, False, set(), {A}),
        (C, False, set(), set()),
        (A, True, {B}, {B}),
        (B, True, {A}, {A}),
    ],
)
def test_a_rule_opens_its_direction_and_with_both_ways_also_the_other(peer, both, outbound, inbound):
    state = state_of(policy_of(rule_of(["dev"], ["ops"], bidirectional=both)), dev={A}, ops={B})
    assert told(state, peer) == (outbound, inbound)


def test_a_peer_on_both_sides_reaches_and_is_reached():
    state = state_of(policy_of(rule_of(["dev"], ["ops"], bidirectional=False)), dev={A, B}, ops={B, C})
    assert told(state, B) == ({C}, {A})


@pytest.mark.parametrize("off", ["policy", "rule"])
def test_what_is_disabled_says_nothing(off):
    rule = rule_of(["dev"], ["ops"], enabled=off != "rule")
    state = state_of(policy_of(rule, enabled=off != "policy"), dev={A}, ops={B})
    assert told(state, A) == (set(), set())
    assert not Reach(state).visible(A)


def test_a_single_peer_stands_for_a_side():
    state = state_of(policy_of(rule_of([], ["ops"], source_peer=C)), ops={A, B})
    assert told(state, C) == ({A, B}, {A, B})
    assert told(state, A) == ({C}, {C})


def test_a_peer_or_group_that_is_gone_is_nobody():
    state = state_of(policy_of(rule_of(["gone"], ["ops"]), rule_of([], ["ops"], source_peer=PeerID("x"))), ops={A})
    assert told(state, A) == (set(), set())


def test_everybody_shares_one_set():
    state = state_of(policy_of(rule_of(["all"], ["all"])), all={A, B, C})
    reach = Reach(state)
    assert reach.visible(A) is reach.visible(B) is state.groups["all"].peers


def test_unions_are_bounded(monkeypatch):
    monkeypatch.setattr("meshloom.netmap.reach.MOST_KEPT", 3)
    rules = [rule_of([name], ["all"]) for name in ("one", "two", "three")]
    state = state_of(policy_of(*rules), one={A}, two={B}, three={C}, all={A, B, C})
    reach = Reach(state)
    assert all(reach.visible(peer) == {A, B, C} for peer in (A, B, C))
    assert len(reach._unions) <= 3
