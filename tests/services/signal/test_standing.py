"""Who replaces whom: every case, and what holds in all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_signal import standing
from meshloom_signal.standing import PROVEN_FOR, SETTLED, Holder, Proven, Rank, Verdict, decide

CLAIMED, SEEN, PROVEN = Rank.CLAIMED, Rank.SEEN, Rank.PROVEN
TAKE, ASK, REFUSE = Verdict.TAKE, Verdict.ASK, Verdict.REFUSE


def holder(rank, *, proxied=False, same_connection=False, age=0.0):
    return Holder(rank, proxied, same_connection, age)


@pytest.mark.parametrize(
    ("new", "old", "needs_proof", "verdict"),
    [
        (CLAIMED, None, False, TAKE),
        (CLAIMED, None, True, REFUSE),
        (SEEN, None, True, REFUSE),
        (PROVEN, None, True, TAKE),
        # An older stream that can be asked.
        (CLAIMED, holder(CLAIMED), False, ASK),
        (SEEN, holder(SEEN), False, ASK),
        (CLAIMED, holder(SEEN), False, ASK),
        (CLAIMED, holder(CLAIMED, age=1e6), False, ASK),
        (SEEN, holder(CLAIMED), False, TAKE),
        (CLAIMED, holder(CLAIMED, same_connection=True), False, TAKE),
        (CLAIMED, holder(CLAIMED, same_connection=True), True, REFUSE),
        # One that is proven.
        (CLAIMED, holder(PROVEN), False, REFUSE),
        (SEEN, holder(PROVEN), False, REFUSE),
        (CLAIMED, holder(PROVEN, same_connection=True), False, REFUSE),
        (CLAIMED, holder(PROVEN, proxied=True, age=1e6), False, REFUSE),
        (PROVEN, holder(PROVEN), True, TAKE),
        # One by a proxy, which answers for whoever is behind it.
        (CLAIMED, holder(CLAIMED, proxied=True, age=SETTLED - 1), False, REFUSE),
        (CLAIMED, holder(CLAIMED, proxied=True, age=SETTLED), False, TAKE),
        (CLAIMED, holder(CLAIMED, proxied=True, same_connection=True), False, REFUSE),
        (CLAIMED, holder(SEEN, proxied=True, age=1e6), False, REFUSE),
        (SEEN, holder(SEEN, proxied=True, age=SETTLED), False, TAKE),
        (SEEN, holder(CLAIMED, proxied=True), False, TAKE),
        (PROVEN, holder(CLAIMED, proxied=True), False, TAKE),
    ],
)
def test_each_case_has_its_verdict(new, old, needs_proof, verdict):
    assert decide(new, old, needs_proof=needs_proof) is verdict


holders = st.one_of(
    st.none(),
    st.builds(Holder, st.sampled_from(Rank), st.booleans(), st.booleans(), st.floats(0, 1e6, allow_nan=False)),
)


@given(st.sampled_from([CLAIMED, SEEN]), holders, st.booleans())
def test_a_proof_is_never_overcome_by_less(new, old, needs_proof):
    verdict = decide(new, old, needs_proof=needs_proof)
    if needs_proof or (old is not None and old.rank is PROVEN):
        assert verdict is REFUSE


@given(holders, st.booleans())
def test_a_proof_overcomes_everything(old, needs_proof):
    assert decide(PROVEN, old, needs_proof=needs_proof) is TAKE


@given(st.sampled_from(Rank), holders, st.booleans())
def test_only_who_is_there_and_can_answer_is_asked(new, old, needs_proof):
    if decide(new, old, needs_proof=needs_proof) is ASK:
        assert old is not None
        assert not old.proxied


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_proof_is_remembered_for_some_time_after_its_stream():
    clock = Clock()
    proven = Proven(clock)
    assert "key" not in proven
    proven.leave("key")
    clock.now = PROVEN_FOR - 1
    assert "key" in proven
    proven.leave("key")
    clock.now += PROVEN_FOR - 1
    assert "key" in proven
    clock.now += 1
    assert "key" not in proven


def test_no_more_proofs_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(standing, "MOST_PROVEN", 3)
    proven = Proven(Clock())
    for key in "abcad":
        proven.leave(key)
    assert [key for key in "abcd" if key in proven] == ["a", "c", "d"], "the one that left first is forgotten"
