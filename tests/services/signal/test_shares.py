"""What senders without a proof may send to one recipient: nobody uses up another's, and the sum is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from meshloom_signal import shares
from meshloom_signal.shares import (
    MOST_OF_ONE,
    OWN_BURST,
    OWN_PER_SECOND,
    SHARED_BURST,
    SHARED_PER_SECOND,
    Shared,
    Shares,
)
from meshloom_signal.standing import Rank

CLAIMED, SEEN = Rank.CLAIMED, Rank.SEEN


def flood(table, shared, rank, source, now=0.0, *, recipient="b"):
    """How many come through until none does."""
    number = 0
    while table.take(recipient, shared, rank, source, now):
        number += 1
    return number


def test_a_sender_that_floods_leaves_each_other_one_what_is_its_own():
    table, shared = Shares(), Shared(0)
    assert flood(table, shared, CLAIMED, "stranger") == OWN_BURST + SHARED_BURST
    assert flood(table, shared, CLAIMED, "agent") == OWN_BURST
    assert flood(table, shared, CLAIMED, "agent", 1.0) >= OWN_PER_SECOND
    assert flood(table, shared, SEEN, "known") == OWN_BURST + SHARED_BURST


def test_strangers_from_many_places_leave_those_that_management_knows_all_of_theirs():
    table, shared = Shares(), Shared(0)
    for number in range(3 * MOST_OF_ONE):
        flood(table, shared, CLAIMED, f"stranger {number}")
    for number in range(MOST_OF_ONE):
        assert flood(table, shared, SEEN, f"known {number}") >= OWN_BURST


def test_all_together_are_bounded():
    table, shared = Shares(), Shared(0)
    sum_ = 0
    for second in range(3):
        for number in range(10 * MOST_OF_ONE):
            rank = (CLAIMED, SEEN)[number % 2]
            sum_ += flood(table, shared, rank, str(number), second)
    at_once = 2 * (MOST_OF_ONE * OWN_BURST + SHARED_BURST)
    a_second = 2 * (MOST_OF_ONE * OWN_PER_SECOND + SHARED_PER_SECOND)
    assert sum_ <= at_once + 2 * a_second


def test_one_recipient_costs_another_nothing():
    table = Shares()
    one, two = Shared(0), Shared(0)
    for number in range(2 * MOST_OF_ONE):
        flood(table, one, CLAIMED, f"stranger {number}", recipient="one")
    assert flood(table, two, CLAIMED, "stranger 0", recipient="two") == OWN_BURST + SHARED_BURST


def test_those_that_rest_are_forgotten_for_new_ones():
    table, shared = Shares(), Shared(0)
    for number in range(MOST_OF_ONE):
        assert table.take("b", shared, CLAIMED, f"old {number}", 0)
    flood(table, shared, CLAIMED, "stranger")
    assert not table.take("b", shared, CLAIMED, "new", 0)
    assert flood(table, shared, CLAIMED, "stranger", 1.0)
    assert table.take("b", shared, CLAIMED, "new", 1.0)


def test_a_new_stream_of_the_recipient_begins_with_nothing_taken():
    table = Shares()
    flood(table, Shared(0), CLAIMED, "agent")
    assert flood(table, Shared(0), CLAIMED, "agent") == OWN_BURST + SHARED_BURST


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.sampled_from([CLAIMED, SEEN]), st.floats(0, 20)),
        max_size=200,
    )
)
def test_the_table_never_grows_beyond_its_bound_and_counts_what_it_holds(events):
    before, shares.MOST = shares.MOST, 16
    try:
        table, streams, now = Shares(), {"a": Shared(0), "b": Shared(0)}, 0.0
        for recipient, number, rank, later in events:
            now += later
            table.take(recipient, streams[recipient], rank, f"{rank} {number}", now)
            assert len(table) <= shares.MOST
            held = sum(count for each in streams.values() for count in each.senders.values())
            assert held == len(table)
    finally:
        shares.MOST = before
