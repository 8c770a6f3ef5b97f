"""Who may be which peer of a relay, for how long, and what somebody with another's token can do."""

import pytest

from meshloom.protocol.relay_client import Authenticated, PeerOffline, PeerOnline
from meshloom.testing.transport_ground import until

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000


async def pair(world, ends, *, named=True, **limits):
    """Peers 1 and 2, which reach each other."""
    world.start(**limits)
    one, two = [await world.join(number, ends.named(number) if named else None) for number in (1, 2)]
    one.open(two)
    two.open(one)
    await until(lambda: PeerOnline(two.id) in one.events and PeerOnline(one.id) in two.events)
    return one, two


async def test_a_token_with_a_name_is_good_for_that_peer_alone(world, ends):
    world.start()
    assert (await world.join(1, ends.named(1))).events == [Authenticated(ends.URL)]
    thief = await world.join(2, ends.named(1))
    assert thief.is_lost
    assert world.metric("ended_total", reason="token: another peer's") == 1


async def test_a_connection_ends_with_its_token(world, ends):
    world.start()
    one = await world.join(1, ends.named(1, expires=NOW + 60))
    two = await world.join(2, ends.token(expires=NOW + 60))
    await world.tick(25)
    await world.tick(34)
    assert not one.is_lost
    assert not two.is_lost
    await world.tick(1.5)
    await until(lambda: one.is_lost and two.is_lost)
    assert world.metric("ended_total", reason="token ended") == 2


async def test_a_newer_token_on_the_same_connection_keeps_it_and_every_packet_arrives(world, ends):
    one, two = await pair(world, ends)
    three = await world.join(3, ends.named(3, expires=NOW + 60))
    three.open(one)
    one.open(three)
    await until(lambda: PeerOnline(three.id) in one.events and PeerOnline(one.id) in three.events)
    for minute in range(10):
        world.now += 30
        three.client.show(ends.named(3, expires=NOW + 30 * minute + 90), 0.0)
        three.act()
        for _ in range(2):
            await world.tick(15)
            assert one.send(three, b"there")
            assert three.send(one, b"back")
    await until(lambda: len(three.packets) == len(one.packets) == 20)
    assert not three.is_lost
    assert PeerOffline(three.id) not in one.events
    assert two.events.count(PeerOffline(three.id)) == 0


@pytest.mark.parametrize("shown", ["older", "another peer's", "forged", "without a name"])
async def test_no_other_token_keeps_a_connection(world, ends, shown):
    world.start()
    one = await world.join(1, ends.named(1, expires=NOW + 60))
    token = {
        "older": ends.named(1, expires=NOW + 30),
        "another peer's": ends.named(2),
        "forged": ends.named(1, secret="another"),
        "without a name": ends.token(),
    }[shown]
    one.client.show(token, 0.0)
    one.act()
    await world.tick(25)
    await world.tick(34)
    assert not one.is_lost
    await world.tick(1.5)
    await until(lambda: one.is_lost)


async def test_a_token_without_a_name_opens_a_bounded_number_of_connections(world, ends):
    world.start(per_token=3)
    members = [await world.join(number) for number in range(1, 4)]
    assert (await world.join(4)).is_lost
    assert world.metric("ended_total", reason="token: too many peers") == 1
    assert not (await world.join(5, ends.token(expires=ends.EXPIRES - 1))).is_lost
    assert not (await world.join(6, ends.named(6))).is_lost
    members[0].connection.close()
    await until(lambda: len(world.relay) == 4)
    assert not (await world.join(4)).is_lost
    members[1].client.show(ends.named(2), 0.0)
    members[1].act()
    await world.settle()
    assert not (await world.join(7)).is_lost  # that one needs the shared token no longer
    assert not any(member.is_lost for member in members[1:])


async def test_somebody_with_a_token_cannot_take_a_peers_place_while_it_answers(world, ends):
    one, two = await pair(world, ends, named=False)
    for _ in range(5):
        thief = await world.join(2)
        assert thief.is_lost
        one.send(two, b"for two")
    await until(lambda: len(two.packets) == 5)
    assert thief.packets == []
    assert not two.is_lost
    assert PeerOffline(two.id) not in one.events
    assert world.metric("ended_total", reason="peer is here") == 5


async def test_a_peer_that_came_back_by_another_connection_gets_its_place_when_the_old_one_is_dead(world, ends):
    one, two = await pair(world, ends, named=False)
    two.is_dead = True
    again = await world.connect(2)
    await world.settle()
    await world.tick(2.9)
    assert again.events == []
    await world.tick(0.2)
    await until(lambda: again.events == [Authenticated(ends.URL)])
    one.send(again, b"to the new one")
    again.open(one)
    await until(lambda: PeerOnline(one.id) in again.events)
    one.send(again, b"once more")
    await until(lambda: (one.id, b"once more") in again.packets)
    assert PeerOffline(two.id) not in one.events
    assert world.metric("ended_total", reason="replaced") == 1
    assert world.metric("peers", transport="memory") == 2


async def test_a_connection_that_leaves_for_another_one_leaves_it_its_place_at_once(world, ends):
    one, two = await pair(world, ends, named=False)
    two.client.gives_way = True
    again = await world.join(2)
    assert again.events == [Authenticated(ends.URL)]
    assert PeerOffline(two.id) not in one.events
    assert world.metric("peers", transport="memory") == 2


async def test_a_token_with_the_peers_name_replaces_at_once_and_settles_who_else_waits(world, ends):
    one, two = await pair(world, ends, named=False)
    two.is_dead = True
    thief = await world.connect(2)
    again = await world.join(2, ends.named(2))
    assert again.events == [Authenticated(ends.URL)]
    await until(lambda: thief.is_lost)
    thief = await world.join(2)
    assert thief.is_lost
    assert not again.is_lost
    assert PeerOffline(two.id) not in one.events


async def test_of_those_who_wait_for_one_place_there_is_one_and_it_waits_no_longer_for_the_others(world, ends):
    _, two = await pair(world, ends, named=False)
    two.is_dead = True
    waiting = []
    for _ in range(4):
        waiting.append(await world.connect(2))
        await world.settle()
        await world.tick(0.7)
    await until(lambda: all(each.is_lost for each in waiting[:-1]))
    await world.tick(0.3)
    await until(lambda: waiting[-1].events == [Authenticated(ends.URL)])
    assert len(world.relay._claims) == 0


async def test_a_peer_that_is_removed_is_gone_at_once_and_refused_until_it_is_registered_again(world, ends):
    one, two = await pair(world, ends)
    world.refusals[two.id] = "peer is not registered"
    world.relay.remove(two.id)
    await until(lambda: two.is_lost and PeerOffline(two.id) in one.events)
    assert (await world.join(2, ends.named(2))).is_lost
    assert world.metric("ended_total", reason="removed") == 1
    assert world.metric("ended_total", reason="peer is not registered") == 1
    del world.refusals[two.id]
    assert not (await world.join(2, ends.named(2))).is_lost


async def test_who_waits_for_the_place_of_a_peer_that_is_removed_does_not_get_it(world, ends):
    _, two = await pair(world, ends, named=False)
    two.is_dead = True
    thief = await world.connect(2)
    await world.settle()
    world.relay.remove(two.id)
    await until(lambda: thief.is_lost and len(world.relay) == 1)
