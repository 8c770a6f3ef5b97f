"""When offers are repeated."""

from meshloom_agent.mesh.offers import APART, SILENT, OfferTimer


def waits(timer, until, now=0.0):
    """The seconds between offers, sent whenever they are due."""
    found = []
    while now < until:
        timer.plan(now)
        found.append(timer.due - now)
        now = timer.due
    return found


def timer(**more):
    return OfferTimer(first=1.0, longest=30.0, absent=300.0, spread=1.0, heard=0.0, **more)


def test_waits_double_up_to_the_longest():
    assert waits(timer(), SILENT)[:7] == [1, 2, 4, 8, 16, 30, 30]


def test_an_absent_peer_is_offered_to_seldom():
    found = waits(timer(), 3600)
    assert found[-1] == 300
    assert len(found) < 3600 / 300 + 12


def test_one_that_was_heard_is_not_absent():
    offers = timer()
    waits(offers, 3600)
    offers.heard = 3600.0
    offers.plan(3600.0)
    assert offers.due == 3630


def test_a_longest_wait_that_is_given_counts():
    offers = timer()
    waits(offers, 3600)
    offers.plan(3600.0, 60.0)
    assert offers.due == 3660


def test_who_begins_again_offers_at_once_and_soon_again():
    offers = timer()
    waits(offers, 3600)
    offers.begin(3600.0)
    assert offers.due == 3600
    assert waits(offers, 3607, now=3600.0)[:3] == [1, 2, 4]


def test_who_offers_again_does_so_soon_and_then_as_seldom_as_before():
    offers = timer()
    waits(offers, 100)
    offers.plan(100.0)
    offers.again(102.0)
    assert offers.due == 100 + APART
    offers.again(105.0)
    assert offers.due == 100 + APART
    assert waits(offers, 111, now=110.0) == [30]
    offers.again(130.0)
    assert offers.due == 130
