"""What of a write maps may show."""

import itertools
from datetime import timedelta
from ipaddress import IPv4Address

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.model.group import Group
from meshloom.model.ids import GroupID, PeerID, PolicyID, UserID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change
from meshloom.testing import samples

PEER, GROUP, POLICY, USER = samples.peer(), samples.group(), samples.policy(), samples.user()
STATE = AccountState(
    samples.account(),
    users={USER.id: USER},
    groups={GROUP.id: GROUP},
    policies={POLICY.id: POLICY},
    peers={PEER.id: PEER},
)

ids = st.frozensets(st.sampled_from("abc"))
changes = st.builds(Change, ids, ids, ids, ids, st.booleans())


def change_of(*entities):
    return Change.between(STATE, {(type(entity), entity.id): entity for entity in entities})


@given(changes, changes, changes)
def test_changes_merge_in_any_order(one, two, three):
    merged = [a | b | c for a, b, c in itertools.permutations((one, two, three))]
    assert all(change == merged[0] for change in merged)
    assert one | one == one
    assert bool(one | two) == (bool(one) or bool(two))


@pytest.mark.parametrize(
    "entity",
    [
        attrs.evolve(PEER, last_seen=PEER.last_seen + timedelta(hours=1), connected=True, connection_ip="192.0.2.1"),
        attrs.evolve(PEER, name="shown to people"),
        attrs.evolve(PEER, meta=attrs.evolve(PEER.meta, kernel_version="6.2")),
        attrs.evolve(GROUP, name="another name"),
        attrs.evolve(POLICY, name="another name", description="text"),
        attrs.evolve(USER, email="another@example.test"),
        attrs.evolve(STATE.account, domain="example.test"),
    ],
)
def test_what_no_map_shows_is_no_change(entity):
    assert not change_of(entity)


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        (attrs.evolve(PEER, ip=IPv4Address("100.64.9.9")), Change(peers=frozenset({PeerID("peer")}))),
        (samples.peer("new"), Change(peers=frozenset({PeerID("new")}))),
        (attrs.evolve(GROUP, peers=frozenset()), Change(groups=frozenset({GroupID("group")}))),
        (attrs.evolve(POLICY, enabled=False), Change(policies=frozenset({PolicyID("policy")}))),
        (attrs.evolve(USER, is_blocked=True), Change(users=frozenset({UserID("user")}))),
        (
            attrs.evolve(STATE.account, settings=attrs.evolve(STATE.account.settings, lazy_connection_enabled=False)),
            Change(settings=True),
        ),
    ],
)
def test_what_maps_show_is_a_change(entity, expected):
    assert change_of(entity) == expected


def test_a_policy_made_disabled_is_none():
    assert not change_of(samples.policy("new", enabled=False))


def test_deleting_is_a_change():
    change = Change.between(STATE, {(Peer, "peer"): None, (Group, "group"): None})
    assert change == Change(peers=frozenset({PeerID("peer")}), groups=frozenset({GroupID("group")}))
