"""Who may begin, and who gives way: addresses, shares and rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_transport_quic.half_open import (
    BEGUN_BURST,
    BEGUN_RATE,
    HANDSHAKE,
    SOURCES,
    Begun,
    HalfOpen,
    source_of,
)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("192.0.2.1", 1), ("::ffff:192.0.2.1", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:1", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2", 1, 0, 2), True),
    ],
)
def test_a_source_is_an_ipv4_address_or_a_prefix_of_ipv6(one, other, is_same):
    assert (source_of(one) == source_of(other)) is is_same


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200))
def test_shares_hold_and_the_oldest_gives_way(steps):
    half_open, expected = HalfOpen(most=12, of_source=4), []
    for number, (source, is_added) in enumerate(steps):
        if not is_added:
            if expected:
                half_open.discard(expected.pop(source % len(expected))[0])
            continue
        gone = half_open.add(number, str(source), float(number))
        same = [link for link, owner in expected if owner == source]
        must_go = same[0] if len(same) == 4 else expected[0][0] if len(expected) == 12 else None
        assert gone == must_go
        expected = [(link, owner) for link, owner in expected if link != gone] + [(number, source)]
        assert len(half_open) == len(expected)
    assert half_open.overdue(1e9) == [link for link, _ in expected]
    assert half_open.next_due() == (expected[0][0] + HANDSHAKE if expected else None)


def test_a_source_begins_some_handshakes_at_once_and_a_few_each_second():
    begun = Begun()
    assert [begun.take("one", 0.0) for _ in range(BEGUN_BURST + 1)] == [True] * BEGUN_BURST + [False]
    assert begun.take("other", 0.0)
    assert [begun.take("one", 1.0) for _ in range(int(BEGUN_RATE) + 1)] == [True] * int(BEGUN_RATE) + [False]


def test_sources_that_are_counted_are_bounded_and_the_oldest_is_forgotten():
    begun = Begun()
    for number in range(3 * SOURCES):
        begun.take(str(number), 0.0)
    assert len(begun._sources) == SOURCES
