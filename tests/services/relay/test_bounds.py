"""What all peers of a relay together can cost it, and who gives way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.protocol.relay import RelayPeerID
from meshloom.protocol.relay_client import PeerOnline
from meshloom.testing.transport_ground import until
from meshloom_relay.backlog import Backlog
from meshloom_relay.limits import Tokens, WatchPool
from meshloom_relay.waiting import WaitingRoom, source_of


@pytest.mark.anyio
async def test_what_waits_for_all_slow_readers_is_bounded_and_the_slowest_gives_way(world):
    relay = world.start(queue=100_000, total_queue=200_000)
    sender = await world.join(1)
    readers = [await world.join(number) for number in range(2, 12)]
    sender.open(*readers)
    await until(lambda: all(PeerOnline(reader.id) in sender.events for reader in readers))
    here = {each.session.peer: each for each in relay._connections}
    for reader in readers:
        here[reader.id]._connection.send = lambda *_: False
    for number in range(1000):
        reader = readers[number % 10] if number % 4 else readers[0]
        while not sender.send(reader, bytes(1000)):
            await world.settle()
        await world.settle()
        assert sum(each.queued for each in here.values()) == relay.backlog.held <= 200_000
    assert world.metric("queued_bytes") == relay.backlog.held
    assert world.metric("dropped_total", reason="total queue") > 500
    assert all(here[reader.id].queued for reader in readers)  # the small ones kept theirs
    for reader in readers:
        reader.connection.close()
    await until(lambda: len(relay) == 1)
    assert relay.backlog.held == 0


@pytest.mark.anyio
async def test_what_the_relay_says_to_those_who_do_not_read_counts_as_well(world):
    relay = world.start(total_queue=30_000)
    watchers = [await world.join(number) for number in range(2, 6)]
    here = {each.session.peer: each for each in relay._connections}
    for watcher in watchers:
        here[watcher.id]._connection.send = lambda *_: False
    visitor = await world.join(1)
    for _ in range(400):
        for watcher in watchers:
            watcher.open(visitor)
            watcher.close(visitor)
        await world.settle()
        assert relay.backlog.held <= 30_000
    await until(lambda: any(watcher.is_lost for watcher in watchers))
    assert world.metric("ended_total", reason="too slow") >= 1
    assert not visitor.is_lost


@pytest.mark.anyio
async def test_what_all_peers_watch_is_bounded_and_each_has_its_share(world):
    relay = world.start(peers=10, total_watched=1000)
    everybody = [RelayPeerID(b"sha-" + number.to_bytes(32)) for number in range(2000)]
    hogs = [await world.join(number) for number in range(2, 5)]
    for hog in hogs:
        hog.client.open(everybody, 0.0)
        hog.act()
    await world.settle()
    assert sum(len(each.session.watched) for each in relay._connections) <= 1000
    assert world.metric("unwatched_total") >= 5000
    one, two = await world.join(1), await world.join(5)
    one.open(two)
    await until(lambda: PeerOnline(two.id) in one.events)
    hogs[0].connection.close()
    await until(lambda: len(relay) == 4)
    hogs[1].client.close(everybody, 0.0)
    hogs[1].client.open(everybody[:600], 0.0)
    hogs[1].act()
    await world.settle()
    watched = {each.session.peer: len(each.session.watched) for each in relay._connections}
    assert watched[hogs[1].id] == 550
    assert sum(watched.values()) <= 1000


@pytest.mark.anyio
async def test_one_address_without_tokens_takes_no_room_from_another(world, ends):
    world.start(waiting=10)

    async def stranger(number, host):
        world.transport.host = host
        made = ends.Peer(number)
        made.connection = await world.transport.connect(world.address, made)
        await world.settle()
        return made

    flood = [await stranger(number, "192.0.2.1") for number in range(100, 110)]
    other = await stranger(1, "198.51.100.1")
    flood += [await stranger(number, "192.0.2.1") for number in range(110, 200)]
    assert not other.lost
    assert world.metric("waiting") == 10
    assert [bool(each.lost) for each in flood] == [True] * 91 + [False] * 9


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("memory", "memory", True),
    ],
)
def test_what_counts_as_one_place(one, other, same):
    assert (source_of(one) == source_of(other)) is same


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=60))
def test_a_place_never_loses_a_connection_while_another_has_more(steps):
    room, here, number = WaitingRoom(8), {}, 0
    for source, leaving in steps:
        number += 1
        if leaving == 3 and here:
            gone = next(iter(here))
            room.discard(gone)
            del here[gone]
            continue
        counts = {each: list(here.values()).count(each) for each in "abc"}
        leaves = room.add(number, source)
        if leaves is not None:
            assert counts[here.pop(leaves)] == max(counts.values())
        here[number] = source
        assert len(room) == len(here) <= 8


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5000)), max_size=100))
def test_the_largest_holder_is_found_within_a_factor_of_two(steps):
    backlog, held = Backlog(1), dict.fromkeys(range(6), 0)
    for holder, size in steps:
        backlog.move(holder, held[holder], size)
        held[holder] = size
        assert backlog.held == sum(held.values())
        assert backlog.is_over == (backlog.held > 1)
        if backlog.held:
            assert held[backlog.largest()] * 2 > max(held.values())
        else:
            with pytest.raises(LookupError):
                backlog.largest()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans()), max_size=80))
def test_all_watches_stay_within_their_number_and_shares_are_kept(steps):
    pool, has = WatchPool(100, 5), dict.fromkeys(range(5), 0)
    for peer, number, leaves in steps:
        if leaves:
            gone = min(number, has[peer])
            pool.give_back(has[peer], gone)
            has[peer] -= gone
        else:
            granted = pool.take(has[peer], number)
            assert granted >= min(number, 10 - has[peer])
            has[peer] += granted
        assert sum(has.values()) <= 100
        assert pool.left == 50 - sum(max(0, each - 10) for each in has.values())


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.booleans()), max_size=40))
def test_a_token_is_counted_as_often_as_it_is_in_use(steps):
    tokens, used = Tokens(3), {b"a": 0, b"b": 0}
    for mark, comes in steps:
        if comes:
            assert tokens.take(mark) is (used[mark] < 3)
            used[mark] = min(3, used[mark] + 1)
        elif used[mark]:
            tokens.give_back(mark)
            used[mark] -= 1
        assert len(tokens) == sum(map(bool, used.values()))
