"""Who is where at a relay, who is told, and who gets a place that two connections want."""

from hypothesis import given
from hypothesis import strategies as st

from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import relay_peer_id
from meshloom.protocol.relay_where import ANSWER_WITHIN, Claims, Whereabouts

ID, OTHER, THIRD = (relay_peer_id(PublicKey.of(bytes([number]) * 32)) for number in (1, 2, 3))


def test_watchers_are_told_of_who_comes_and_goes_but_not_of_who_comes_again():
    where = Whereabouts()
    where.watch("watcher", [ID, OTHER])
    assert where.arrive(ID, "one") == (None, {"watcher"})
    assert where.online([ID, OTHER]) == [ID]
    assert where.arrive(ID, "again") == ("one", frozenset())
    assert where.leave(ID, "one") == frozenset()
    assert where.leave(ID, "again") == {"watcher"}
    where.unwatch("watcher", [ID, OTHER, THIRD])
    assert where.arrive(ID, "later") == (None, frozenset())
    assert not where._watchers


def test_a_free_place_is_had_at_once_and_one_that_is_taken_only_with_the_peers_name():
    claims = Claims()
    assert claims.claim(ID, "one", is_held=False, is_named=False, now=0.0) == (True, None)
    assert claims.claim(ID, "two", is_held=True, is_named=False, now=0.0) == (False, None)
    assert claims.claim(ID, "three", is_held=True, is_named=True, now=0.0) == (True, "two")
    assert len(claims) == 0


def test_a_claim_is_settled_by_an_answer_by_silence_or_by_its_own_end():
    claims = Claims()
    claims.claim(ID, "claimant", is_held=True, is_named=False, now=0.0)
    assert claims.due(ANSWER_WITHIN - 0.1) == []
    assert claims.due(ANSWER_WITHIN) == [ID]
    claims.withdraw(ID, "somebody else")
    assert claims.settle(ID) == "claimant"
    assert claims.settle(ID) is None
    claims.claim(ID, "claimant", is_held=True, is_named=False, now=5.0)
    claims.withdraw(ID, "claimant")
    assert claims.due(100.0) == []


@given(st.lists(st.tuples(st.sampled_from([ID, OTHER]), st.booleans(), st.booleans(), st.floats(0, 2)), max_size=40))
def test_whoever_waits_is_refused_or_waits_no_longer_than_the_holder_has_to_answer(steps):
    claims, waiting, now = Claims(), {}, 0.0
    for number, (peer, is_held, is_named, later) in enumerate(steps):
        now += later
        admitted, refused = claims.claim(peer, number, is_held=is_held, is_named=is_named, now=now)
        old = waiting.pop(peer, None)
        assert refused == (old[0] if old else None)
        assert admitted == (is_named or not is_held)
        if not admitted:
            waiting[peer] = number, old[1] if old else now
        assert len(claims) == len(waiting)
        assert set(claims.due(now)) == {each for each, (_, since) in waiting.items() if now >= since + ANSWER_WITHIN}
