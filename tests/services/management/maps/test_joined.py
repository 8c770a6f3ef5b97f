"""What is joined stays joined while it shows what it should, and no longer."""

from meshloom.model.ids import PeerID
from meshloom.testing import samples
from meshloom_management.maps.fragments import Table
from meshloom_management.maps.joined import NOTHING, JoinedEntries


def table_of(log):
    def encode(peer):
        log.append(peer.id)
        return peer.id.encode()

    return Table(encode)


def ids(*names):
    return frozenset(map(PeerID, names))


def joined(table, *names):
    return NOTHING.followed_by([(PeerID(name), table.entry(samples.peer(name))) for name in names])


def test_further_entries_come_after_those_that_are_joined():
    table = table_of([])
    before = joined(table, "a", "b")
    after = before.followed_by([(PeerID("c"), b"c")])
    assert after.data == b"abc"
    assert after.digest == joined(table, "c", "a", "b").digest
    assert b"".join(after.without(PeerID("c")).pieces()) == b"ab"
    assert before.data == b"ab"
    assert PeerID("c") not in before.places


def test_a_newcomer_leaves_the_others_joined():
    table, kept = table_of([]), JoinedEntries()
    old = kept.keep(table, ids("a", "b"), joined(table, "a", "b"))
    following = kept.following(ids("c")).following(ids("d"))
    assert following.begun(table, ids("a", "b", "c")) is old
    assert following.begun(table, ids("a", "c")) is NOTHING
    assert following.begun(table_of([]), ids("a", "b", "c")) is NOTHING


def test_nothing_that_shows_a_changed_peer_is_used_again():
    table, kept = table_of([]), JoinedEntries()
    kept.keep(table, ids("a", "b"), joined(table, "a", "b"))
    smaller = kept.keep(table, ids("b"), joined(table, "b"))
    following = kept.following(ids("a"))
    assert following.begun(table, ids("a", "b")) is smaller


def test_a_table_that_is_out_of_use_is_let_go():
    table, kept = table_of([]), JoinedEntries()
    kept.keep(table, ids("a"), joined(table, "a"))
    following = kept.following(ids("c"))
    table.in_use = False
    assert following.following(ids("d")).begun(table, ids("a", "d")) is NOTHING


def test_what_shows_no_changed_peer_is_found_again_while_its_group_is_the_same():
    table, kept = table_of([]), JoinedEntries()
    some, others, former = ids("a", "b"), ids("c"), ids("b")
    mine = kept.keep(table, some, joined(table, "a", "b"))
    kept.keep(table, others, joined(table, "c"))
    kept.keep(table, former, joined(table, "b"))
    following = kept.following(ids("c"), [some, others])
    assert following.get(table, some) is mine
    assert following.get(table, others) is None
    assert following.get(table, former) is None
    assert len(following) == 1
