"""Who may begin, and who gives way: shares and rates."""

from hypothesis import given
from hypothesis import strategies as st

from meshloom_transport_quic.fairness import Source
from meshloom_transport_quic.half_open import (
    BEGUN_BURST,
    BEGUN_RATE,
    HALF_OPEN,
    HANDSHAKE,
    SOURCES,
    Begun,
    HalfOpen,
)


def source(number):
    """Two sources in each network."""
    return Source(b"%d" % (number // 2), b"%d" % number)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200))
def test_shares_hold_and_the_oldest_of_the_network_with_the_most_gives_way(steps):
    half_open, expected = HalfOpen(most=12, of_source=5), []
    for number, (each, is_added) in enumerate(steps):
        if not is_added:
            if expected:
                half_open.discard(expected.pop(each % len(expected))[0])
            continue
        owners = [owner for _, owner in expected]
        gone = half_open.add(number, source(each), float(number))
        if owners.count(source(each)) == 5:
            assert gone == next(link for link, owner in expected if owner == source(each))
        elif len(expected) == 12:
            networks = [owner.network for owner in owners]
            (owner,) = (owner for link, owner in expected if link == gone)
            assert networks.count(owner.network) == max(map(networks.count, networks))
            same = [other for other in owners if networks.count(other.network) == networks.count(owner.network)]
            assert owners.count(owner) == max(map(owners.count, same))
            assert gone == next(link for link, other in expected if other == owner)
        else:
            assert gone is None
        expected = [(link, owner) for link, owner in expected if link != gone] + [(number, source(each))]
        assert len(half_open) == len(expected)
    assert half_open.overdue(1e9) == [link for link, _ in expected]
    assert half_open.next_due() == (expected[0][0] + HANDSHAKE if expected else None)


def test_a_newcomer_stays_however_many_sources_of_one_network_begin():
    half_open = HalfOpen()
    half_open.add("newcomer", Source(b"another", b"another"), 0.0)
    for number in range(10 * HALF_OPEN):
        assert half_open.add(number, Source(b"one", b"%d" % (number % 256)), 1.0) != "newcomer"
    assert len(half_open) == HALF_OPEN


def test_a_source_begins_some_handshakes_at_once_and_a_few_each_second():
    begun = Begun()
    assert [begun.take(b"one", 0.0) for _ in range(BEGUN_BURST + 1)] == [True] * BEGUN_BURST + [False]
    assert begun.take(b"other", 0.0)
    assert [begun.take(b"one", 1.0) for _ in range(int(BEGUN_RATE) + 1)] == [True] * int(BEGUN_RATE) + [False]


def test_sources_that_are_counted_are_bounded_and_the_oldest_is_forgotten():
    begun = Begun()
    for number in range(3 * SOURCES):
        begun.take(b"%d" % number, 0.0)
    assert len(begun._sources) == SOURCES
