"""Who comes first and who gives way, of those that are not admitted: addresses, CPU time that was had, what waits."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_transport_quic.fairness import HALF_LIFE, REMEMBERED, STALE, WAITING, Had, Source, Waiting, source_of


@pytest.mark.parametrize(
    ("one", "other", "is_same_source", "is_same_network"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True, True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False, True),
        (("192.0.2.1", 1), ("192.0.3.1", 1), False, False),
        (("192.0.2.1", 1), ("::ffff:192.0.2.1", 1, 0, 0), True, True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:1", 1, 0, 0), True, True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False, True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:1::1", 1, 0, 0), False, False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2", 1, 0, 2), True, True),
    ],
)
def test_a_source_and_a_network_are_parts_of_an_address(one, other, is_same_source, is_same_network):
    assert (source_of(one) == source_of(other)) is is_same_source
    assert (source_of(one).network == source_of(other).network) is is_same_network


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.001, 1), st.floats(0, 500)), max_size=60))
def test_what_was_had_counts_for_half_after_each_half_life(steps):
    had, expected, now = Had(), Counter(), 0.0
    for number, seconds, later in steps:
        now += later
        expected = Counter({name: each * 2 ** (-later / HALF_LIFE) for name, each in expected.items()})
        expected[number] += seconds
        had.spend(b"%d" % number, seconds, now)
    for one in expected:
        for other in expected:
            if expected[one] > 1.01 * expected[other] and expected[one] > 0.0001:
                assert had.of(b"%d" % one) > had.of(b"%d" % other)


def test_what_is_remembered_is_bounded_also_after_years():
    had = Had()
    for number in range(3 * REMEMBERED):
        had.spend(b"%d" % number, 0.001, number * 1e5)
        assert had.of(b"%d" % number) > had.of(b"a newcomer")
    for number in range(3 * REMEMBERED):
        had.spend(b"%d" % number, 0.001, 1e10)
    assert len(had) == REMEMBERED


def attacker(number):
    """One of 256 sources of a /56."""
    return Source(b"attacker", b"%d" % (number % 256))


NEWCOMER = Source(b"newcomer", b"newcomer")


@pytest.mark.parametrize("of", [1, 40, 256])
def test_a_newcomer_comes_before_all_that_have_had_something_and_gives_way_to_none(of):
    waiting = Waiting()
    waiting.add("the newcomer's", NEWCOMER, 0.0)
    for number in range(1000):
        waiting.spend(attacker(number % of), 0.003, 0.0)
        assert waiting.add(number, attacker(number % of), 0.0) != "the newcomer's"
    assert len(waiting) == WAITING
    assert waiting.pop(0.1) == ("the newcomer's", NEWCOMER, False)


def test_a_source_of_a_network_with_many_has_its_turn_before_those_that_have_had_more():
    waiting = Waiting()
    for number in range(256):
        waiting.spend(attacker(number), 0.003, 0.0)
    waiting.add("old", attacker(1), 0.0)
    waiting.add("new", Source(b"attacker", b"never seen"), 0.0)
    assert waiting.pop(0.0)[0] == "new"
    assert waiting.pop(0.0)[0] == "old"
    assert waiting.pop(0.0) is None


def test_what_has_waited_too_long_is_told():
    waiting = Waiting()
    waiting.add("late", NEWCOMER, 0.0)
    waiting.add("in time", NEWCOMER, STALE)
    assert [waiting.pop(STALE + 0.5)[::2] for _ in range(2)] == [("late", True), ("in time", False)]


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 2))), max_size=100))
def test_nothing_is_lost_or_done_twice_and_the_network_with_the_most_gives_way(steps):
    waiting, held = Waiting(most=8), {}
    for number, step in enumerate(steps):
        if step is None:
            popped = waiting.pop(0.0)
            assert (popped is None) is (not held)
            if popped is not None:
                assert held.pop(popped[0]) == popped[1]
        else:
            held[number] = Source(b"%d" % step[0], b"%d %d" % step)
            gone = waiting.add(number, held[number], 0.0)
            assert (gone is not None) is (len(held) > 8)
            if gone is not None:
                networks = Counter(source.network for source in held.values())
                assert networks[held[gone].network] == max(networks.values())
                assert gone == min(each for each, source in held.items() if source == held[gone])
                del held[gone]
        assert len(waiting) == len(held)
