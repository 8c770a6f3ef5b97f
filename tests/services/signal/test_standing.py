"""Who replaces whom: every case, and what holds in all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_signal import standing
from meshloom_signal.standing import PROVEN_FOR, QUIET, Holder, Proven, Rank, Silence, Verdict, decide

CLAIMED, SEEN, PROVEN = Rank.CLAIMED, Rank.SEEN, Rank.PROVEN
TAKE, ASK, REFUSE = Verdict.TAKE, Verdict.ASK, Verdict.REFUSE


def holder(rank, *, proxied=False, same_connection=False, quiet=False):
    return Holder(rank, proxied, same_connection, quiet)


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
        (CLAIMED, holder(CLAIMED, quiet=True), False, ASK),
        (SEEN, holder(CLAIMED), False, TAKE),
        (CLAIMED, holder(CLAIMED, same_connection=True), False, TAKE),
        (CLAIMED, holder(CLAIMED, same_connection=True), True, REFUSE),
        # One that is proven.
        (CLAIMED, holder(PROVEN), False, REFUSE),
        (SEEN, holder(PROVEN), False, REFUSE),
        (CLAIMED, holder(PROVEN, same_connection=True), False, REFUSE),
        (CLAIMED, holder(PROVEN, proxied=True, quiet=True), False, REFUSE),
        (PROVEN, holder(PROVEN), True, TAKE),
        # One by a proxy, which answers for whoever is behind it.
        (CLAIMED, holder(CLAIMED, proxied=True), False, ASK),
        (CLAIMED, holder(CLAIMED, proxied=True, quiet=True), False, TAKE),
        (CLAIMED, holder(CLAIMED, proxied=True, same_connection=True), False, ASK),
        (CLAIMED, holder(SEEN, proxied=True, quiet=True), False, ASK),
        (SEEN, holder(SEEN, proxied=True), False, ASK),
        (SEEN, holder(SEEN, proxied=True, quiet=True), False, TAKE),
        (SEEN, holder(CLAIMED, proxied=True), False, TAKE),
        (PROVEN, holder(CLAIMED, proxied=True), False, TAKE),
    ],
)
def test_each_case_has_its_verdict(new, old, needs_proof, verdict):
    assert decide(new, old, needs_proof=needs_proof) is verdict


holders = st.one_of(
    st.none(),
    st.builds(Holder, st.sampled_from(Rank), st.booleans(), st.booleans(), st.booleans()),
)


@given(st.sampled_from([CLAIMED, SEEN]), holders, st.booleans())
def test_a_proof_is_never_overcome_by_less(new, old, needs_proof):
    verdict = decide(new, old, needs_proof=needs_proof)
    if needs_proof or (old is not None and old.rank is PROVEN):
        assert verdict is REFUSE


@given(holders, st.booleans())
def test_a_proof_overcomes_everything(old, needs_proof):
    assert decide(PROVEN, old, needs_proof=needs_proof) is TAKE


@given(st.sampled_from([CLAIMED, SEEN]), holders, st.booleans())
def test_who_is_behind_a_proxy_and_not_silent_gives_way_to_more_alone(new, old, needs_proof):
    verdict = decide(new, old, needs_proof=needs_proof)
    if verdict is ASK:
        assert old is not None
    if verdict is TAKE and old is not None and old.proxied and not old.quiet:
        assert new > old.rank


A_CLIENT = "t"  # another one sends to it
SAYS, BEATS = "s", "b"  # it sends to others, or to itself


@pytest.mark.parametrize(
    ("events", "at", "same_place", "long"),
    [
        ("", QUIET - 1, True, False),
        ("", QUIET, True, True),
        ("", 1e6, False, False),  # it may be a client that says nothing to itself
        ([(BEATS, 5)], QUIET + 4, False, False),
        ([(BEATS, 5)], QUIET + 5, False, True),
        ([(BEATS, 5), (SAYS, 50)], QUIET + 49, False, False),
        ([(SAYS, 5)], 1e6, False, False),
        ([(BEATS, 5), (A_CLIENT, 50)], QUIET + 49, False, False),  # what it is told spares it a word to itself
        ([(BEATS, 5), (A_CLIENT, 50)], QUIET + 50, False, True),
        ([(A_CLIENT, 50)], QUIET, True, True),
        ([(SAYS, 50)], QUIET, True, False),
    ],
)
def test_silence_is_long_where_a_living_client_would_have_said_something(events, at, same_place, long):
    silence = Silence(0.0)
    for event, when in events:
        silence.tell(when) if event == A_CLIENT else silence.say(when, to_itself=event == BEATS)
    assert silence.is_long(at, same_place=same_place) is long


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
