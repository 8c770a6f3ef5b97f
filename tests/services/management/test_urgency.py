"""How soon the peers that a change concerns must have it."""

import attrs
import pytest

from meshloom.model.group import Group
from meshloom.model.peer import Peer
from meshloom.model.policy import Action, Policy, Rule
from meshloom.model.state import AccountState
from meshloom.model.user import User
from meshloom.netmap.change import Change
from meshloom.testing import samples
from meshloom_management.urgency import ALONE, FEW, Arrivals, Urgency, urgency_of


def policy(**about):
    rule = Rule(
        "r", "r", sources=frozenset({"g"}), destinations=frozenset({"g"}), action=about.pop("action", Action.ACCEPT)
    )
    return samples.policy("p", rules=(rule,), **about)


def group(*members):
    return samples.group("g", peers=frozenset(members))


def state(*entities):
    """A snapshot with these."""
    kinds = {"peers": Peer, "groups": Group, "policies": Policy, "users": User}
    made = {name: {each.id: each for each in entities if type(each) is kind} for name, kind in kinds.items()}
    return AccountState(samples.account(), **made)


A = samples.peer("a")
ACCEPT, REFUSE, OFF = policy(), policy(action=Action.DROP), policy(enabled=False)


@pytest.mark.parametrize(
    ("kind", "before", "after", "urgency"),
    [
        (Peer, None, A, Urgency.GROWTH),
        (Peer, A, attrs.evolve(A, dns_label="other"), Urgency.GROWTH),
        (Peer, A, None, Urgency.LOSS),
        (Group, group("a"), group("a", "b"), Urgency.GROWTH),
        (Group, group("a", "b"), group("a"), Urgency.LOSS),
        (Group, group("a"), None, Urgency.LOSS),
        (Policy, None, ACCEPT, Urgency.CHANGE),
        (Policy, OFF, ACCEPT, Urgency.CHANGE),
        (Policy, ACCEPT, OFF, Urgency.LOSS),
        (Policy, ACCEPT, None, Urgency.LOSS),
        (Policy, None, REFUSE, Urgency.LOSS),
        (User, samples.user("u"), None, Urgency.LOSS),
    ],
)
def test_what_may_take_access_away_is_urgent(kind, before, after, urgency):
    id = (before or after).id
    states = state(*filter(None, [before])), state(*filter(None, [after]))
    change = Change.between(states[0], {(kind, id): after})
    assert urgency_of(change, *states, FEW + 1) is urgency
    assert urgency_of(change, *states, FEW) is Urgency.NOW


def test_settings_are_a_change():
    assert urgency_of(Change(settings=True), state(), state(), FEW + 1) is Urgency.CHANGE


def test_a_peer_that_comes_alone_is_as_urgent_as_any_change():
    now = [0.0]
    arrivals = Arrivals(lambda: now[0])

    def after(seconds, account="a", urgency=Urgency.GROWTH):
        now[0] += seconds
        return arrivals.urgency(account, urgency)

    assert after(0) is Urgency.CHANGE
    assert [after(ALONE - 1) for _ in range(3)] == [Urgency.GROWTH] * 3
    assert after(0, "b") is Urgency.CHANGE
    assert after(0, urgency=Urgency.LOSS) is Urgency.LOSS
    assert after(ALONE) is Urgency.CHANGE
