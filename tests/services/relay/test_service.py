"""The relay between peers: who reaches whom, who is told what, and what any one of them can cost the others."""

import anyio.lowlevel
import pytest

from meshloom.errors import TransportError
from meshloom.protocol.relay import HEALTH_CHECK, packet_head
from meshloom.protocol.relay_client import Authenticated, PeerOffline, PeerOnline, RelayLost
from meshloom.testing.transport_ground import until

pytestmark = pytest.mark.anyio


async def pair(world, **limits):
    world.start(**limits)
    one, two = await world.join(1), await world.join(2)
    one.open(two)
    two.open(one)
    await until(lambda: PeerOnline(two.id) in one.events and PeerOnline(one.id) in two.events)
    return one, two


async def test_packets_reach_the_peer_that_they_are_for_with_their_senders_id(world):
    one, two = await pair(world)
    for number in range(100):
        assert one.send(two, b"%d" % number)
        assert two.send(one, b"back %d" % number)
    await until(lambda: len(two.packets) == len(one.packets) == 100)
    assert two.packets == [(one.id, b"%d" % number) for number in range(100)]
    assert one.packets == [(two.id, b"back %d" % number) for number in range(100)]
    assert world.metric("packets_total", transport="memory", direction="in") == 200
    assert world.metric("packets_total", transport="memory", direction="out") == 200
    assert world.metric("bytes_total", transport="memory", direction="out") == sum(
        38 + len(payload) for _, payload in one.packets + two.packets
    )
    assert world.metric("peers", transport="memory") == 2


async def test_every_peer_is_told_the_same_url(world, ends):
    world.start()
    peers = [await world.join(number) for number in range(3)]
    assert {peer.events[0] for peer in peers} == {Authenticated(ends.URL)}


@pytest.mark.parametrize("secret", [0, 1])
async def test_tokens_of_each_secret_are_good(world, ends, secret):
    world.start()
    peer = await world.join(1, ends.token(ends.SECRETS[secret]))
    assert peer.events == [Authenticated(ends.URL)]


@pytest.mark.parametrize(
    ("secret", "expires", "reason"),
    [("wrong", 2_000_000_000, "token: wrong secret"), ("new secret", 1_700_000_000, "token: expired")],
)
async def test_a_bad_token_ends_the_connection_without_an_answer(world, ends, secret, expires, reason):
    world.start()
    peer = await world.join(1, ends.token(secret, expires))
    assert [type(event) for event in peer.events] == [RelayLost]
    assert world.metric("ended_total", reason=reason) == 1
    assert len(world.relay) == 0


async def test_watchers_are_told_of_peers_that_come_and_go(world):
    world.start()
    one = await world.join(1)
    two = await world.connect(2)
    one.open(two)
    await until(lambda: PeerOnline(two.id) in one.events)
    two.connection.close()
    await until(lambda: one.events[-1] == PeerOffline(two.id))
    later = await world.join(3)
    one.open(later)
    await until(lambda: one.events[-1] == PeerOnline(later.id))


async def test_nobody_is_told_of_peers_that_it_does_not_watch(world):
    one, two = await pair(world)
    one.close(two)
    await until(lambda: not world.relay.where._watchers.get(two.id))
    seen = list(one.events)
    two.connection.close()
    await until(lambda: len(world.relay) == 1)
    third = await world.join(3)
    one.open(third)
    await until(lambda: PeerOnline(third.id) in one.events)
    assert one.events == [*seen, PeerOnline(third.id)]


async def test_packets_for_unknown_peers_are_dropped_and_counted(world, ends):
    one, two = await pair(world)
    nobody = ends.Peer(99)
    for _ in range(1000):
        one.send(nobody, b"x" * 100)
        await anyio.lowlevel.checkpoint()
    one.send(two, b"last")
    await until(lambda: two.packets)
    assert world.metric("dropped_total", reason="unknown peer") > 0
    assert not one.is_lost


async def test_a_peer_without_a_token_can_send_nothing(world, ends):
    _, two = await pair(world)
    stranger = ends.Peer(7)
    stranger.connection = await world.transport.connect(world.address, stranger)
    stranger.send(two, b"unasked")
    await until(lambda: stranger.is_lost)
    assert two.packets == []


async def test_a_slow_reader_holds_up_nobody_and_hears_the_newest(world):
    one, two = await pair(world, queue=20_000)
    three = await world.join(3)
    three.open(one)
    slow = next(each for each in world.relay._connections if each.session.peer == two.id)
    real = slow._connection.send
    slow._connection.send = lambda *_: False
    for number in range(1000):
        while not one.send(two, b"%03d" % number + bytes(200)):
            await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    one.send(three, b"not held up")
    three.open(one)
    await until(lambda: three.packets)
    assert 0 < slow.queued <= 20_000
    assert world.metric("queued_bytes") == slow.queued
    assert world.metric("dropped_total", reason="slow reader") == 1000 - slow.queued // (241 + 64)
    slow._connection.send = real
    slow.writable()
    await until(lambda: two.packets and two.packets[-1][1][:3] == b"999")
    assert [int(payload[:3]) for _, payload in two.packets] == list(range(1000 - len(two.packets), 1000))
    assert slow.queued == 0


async def test_a_packet_that_became_too_long_while_it_waited_holds_up_nobody(world):
    one, two = await pair(world)
    narrow = next(each for each in world.relay._connections if each.session.peer == two.id)
    real = narrow._connection.send
    narrow._connection.send = lambda *_: False
    for payload in (bytes(1000), b"short"):
        one.send(two, payload)
    await until(lambda: narrow.queued == 1043 + 38 + 2 * 64)
    narrow._connection.send, narrow._connection.max_message_size = real, 500
    narrow.writable()
    await until(lambda: two.packets)
    assert two.packets == [(one.id, b"short")]
    assert narrow.queued == 0
    assert world.metric("dropped_total", reason="too long") == 1


async def test_what_the_relay_says_is_not_dropped_for_a_slow_reader(world):
    one, two = await pair(world, queue=2_000)
    slow = next(each for each in world.relay._connections if each.session.peer == two.id)
    real = slow._connection.send
    slow._connection.send = lambda *_: False
    await world.tick(25)
    for number in range(100):
        one.send(two, b"%03d" % number + bytes(200))
        await anyio.lowlevel.checkpoint()
    one.connection.close()
    await until(lambda: len(world.relay) == 1)
    slow._connection.send = real
    slow.writable()
    await until(lambda: PeerOffline(one.id) in two.events)
    await world.tick(21)
    assert not two.is_lost  # it answered the health check


async def test_a_flood_is_held_to_the_peers_rate(world):
    one, two = await pair(world, peer_rate=100_000)
    three = await world.join(3)
    three.open(two)
    two.open(three)
    sent = 0
    while sent < 400:
        sent += one.send(two, bytes(1000))
        await anyio.lowlevel.checkpoint()
    three.send(two, b"mine")
    await until(lambda: (three.id, b"mine") in two.packets)
    flooded = sum(38 + len(payload) for source, payload in two.packets if source == one.id)
    assert 100_000 < flooded <= 131_072
    assert world.metric("dropped_total", reason="rate limit") == 400 - flooded // 1038
    before = len(two.packets)
    world.clock += 1.0
    for _ in range(200):
        one.send(two, bytes(1000))
        await anyio.lowlevel.checkpoint()
    await until(lambda: len(two.packets) > before)
    assert 90_000 < (len(two.packets) - before) * 1038 <= 131_072


async def test_all_peers_together_are_held_to_the_relays_rate(world):
    one, two = await pair(world, total_rate=100_000)
    for sender, other in ((one, two), (two, one)) * 200:
        sender.send(other, bytes(1000))
        await anyio.lowlevel.checkpoint()
    await until(lambda: world.metric("dropped_total", reason="rate limit"))
    assert sum(len(peer.packets) for peer in (one, two)) * 1038 <= 131_072


async def test_there_is_room_for_a_bounded_number_of_peers(world):
    world.start(peers=2)
    one = await world.join(1)
    await world.join(2)
    with pytest.raises(TransportError):
        await world.connect(3)
    assert world.metric("ended_total", reason="too many") == 1
    one.connection.close()
    await until(lambda: len(world.relay) == 1)
    await world.join(3)


async def test_those_that_have_shown_no_token_give_way_to_newer_ones(world, ends):
    world.start(waiting=3)
    member = await world.join(1)
    strangers = []
    for number in range(10, 15):
        stranger = ends.Peer(number)
        stranger.connection = await world.transport.connect(world.address, stranger)
        strangers.append(stranger)
    await until(lambda: strangers[0].lost and strangers[1].lost)
    assert [bool(stranger.lost) for stranger in strangers] == [True, True, False, False, False]
    assert world.metric("waiting") == 3
    assert not member.is_lost
    await world.tick(10)
    await until(lambda: all(stranger.lost for stranger in strangers))
    assert world.metric("waiting") == 0


async def test_a_peer_that_answers_no_health_check_is_sent_away(world):
    one, two = await pair(world)
    two.message_received = lambda message: None
    await world.tick(25)
    await world.tick(24)
    await until(lambda: one.events[-1] == PeerOffline(two.id))
    assert two.lost
    assert not one.is_lost
    assert world.metric("ended_total", reason="no health check") == 1


async def test_health_checks_keep_a_peer(world):
    one, _ = await pair(world)
    for _ in range(20):
        await world.tick(25)
    assert not one.is_lost


@pytest.mark.parametrize(
    "rubbish", [b"", b"\1", b"\1\3", b"\1\x08", b"\1\x08" + bytes(35), b"\2\3" + bytes(50), b"\1\7rel://x", bytes(8820)]
)
async def test_rubbish_of_a_peer_is_borne_for_a_while(world, rubbish):
    one, two = await pair(world)
    for _ in range(50):
        one.connection.send(rubbish)
        await anyio.lowlevel.checkpoint()
    one.send(two, b"still")
    await until(lambda: two.packets)
    for _ in range(60):
        one.connection.send(rubbish)
        await anyio.lowlevel.checkpoint()
    await until(lambda: one.is_lost)
    assert not two.is_lost


async def test_messages_of_other_kinds_do_not_harm(world):
    one, two = await pair(world)
    one.connection.send(HEALTH_CHECK)
    one.connection.send(packet_head(one.id), b"to myself")
    one.send(two, b"")
    one.send(two, b"x")
    await until(lambda: len(two.packets) == 2)


async def test_draining_tells_every_peer_and_takes_nobody(world):
    one, two = await pair(world)
    one.send(two, b"under way")
    await world.settle()
    with anyio.fail_after(10):
        await world.relay.drain()
    assert RelayLost("the relay said that it closes") in one.events
    assert RelayLost("the relay said that it closes") in two.events
    assert two.packets == [(one.id, b"under way")]
    assert len(world.relay) == 0
    with pytest.raises(TransportError):
        await world.connect(3)


async def test_after_a_restart_peers_find_each_other_again(world):
    await pair(world)
    world.stop()
    one, two = await pair(world)
    one.send(two, b"again")
    await until(lambda: two.packets == [(one.id, b"again")])


async def test_a_relay_that_everyone_has_left_keeps_nothing(world):
    one, two = await pair(world)
    one.send(two, b"x")
    for peer in (one, two):
        peer.connection.close()
    await until(lambda: len(world.relay) == 0)
    relay = world.relay
    assert [relay.routes, relay.where.here, relay.where._watchers] == [{}, {}, {}]
    assert [len(relay._waiting), len(relay._claims), len(relay._tokens), relay.backlog.held] == [0, 0, 0, 0]
    assert world.metric("peers", transport="memory") == 0
