"""How much each may send, and what is dropped for whom."""

import pytest

from meshloom.model.keys import PrivateKey
from meshloom_signal import rates
from meshloom_signal.rates import (
    BURST,
    MOST_KEYS,
    MOST_PLACES,
    PER_SECOND,
    PROVEN_BURST,
    RANK_FOR,
    Rate,
    Sender,
    Senders,
)
from meshloom_signal.reader import QUEUE, QUEUE_BYTES, Waiting
from meshloom_signal.standing import Rank

A, B, C = (PrivateKey.of(name * 32).public.text for name in (b"A", b"B", b"C"))


class Connection:
    """Any."""


def taken(take, most=100_000):
    """How many may be sent at once."""
    return next(number for number in range(most) if not take())


def test_a_rate_fills_up_with_time_and_not_beyond_its_burst():
    rate = Rate(per_second=2, burst=5, now=0)
    assert taken(lambda: rate.take(0)) == 5
    assert taken(lambda: rate.take(1)) == 2
    assert taken(lambda: rate.take(1000)) == 5


def test_a_stranger_does_not_use_up_what_the_agent_may_send():
    stranger, agent = Sender(0), Sender(0)
    assert taken(lambda: stranger.take(A, 0)) == BURST
    assert agent.take(A, 0)


def test_keys_of_one_connection_have_a_rate_each_and_all_others_share_one():
    proxy = Sender(0)
    for number in range(MOST_KEYS):
        assert taken(lambda number=number: proxy.take(str(number), 0)) == BURST
    others = iter(range(10**6))
    assert taken(lambda: proxy.take(f"other {next(others)}", 0)) == BURST


def test_a_proven_key_may_send_more_as_long_as_it_is_proven():
    agent = Sender(0)
    agent.prove(A)
    assert taken(lambda: agent.take(A, 0)) == PROVEN_BURST
    agent.forget(A)
    assert taken(lambda: agent.take(A, 0)) == BURST


def test_a_stream_that_ends_gives_no_new_burst():
    stranger = Sender(0)
    assert taken(lambda: stranger.take(A, 0)) == BURST
    stranger.forget(A)
    assert not stranger.take(A, 0)
    assert stranger.take(A, 1 / PER_SECOND)


def test_a_stranger_behind_the_proxy_of_an_agent_does_not_use_up_what_that_may_send():
    senders, proxy = Senders(lambda: 0.0), Connection()
    stranger = senders.of(proxy, "192.0.2.1")
    for number in range(MOST_KEYS + 1):
        assert taken(lambda number=number: stranger.take(str(number), 0)) == BURST
    assert senders.of(proxy, "192.0.2.2").take("0", 0)


def test_places_of_one_connection_are_bounded():
    proxy = Sender(0)
    for number in range(3 * MOST_PLACES):
        proxy.at(str(number), 0)
    assert len(proxy._places) == MOST_PLACES


def test_what_speaks_for_a_sender_is_asked_for_seldom_and_bounded():
    asked, sender = [], Sender(0)

    def ask():
        asked.append(1)
        return Rank.SEEN

    assert [sender.rank(A, now, ask) for now in (0, RANK_FOR / 2, RANK_FOR)] == [Rank.SEEN] * 3
    assert len(asked) == 2
    sender.prove(A)
    assert sender.rank(A, 0, ask) is Rank.PROVEN
    for number in range(3 * MOST_KEYS):
        sender.rank(str(number), 0, ask)
    assert len(sender._ranks) <= MOST_KEYS


def test_what_is_known_of_a_connection_goes_with_it():
    senders, connection = Senders(lambda: 0.0), Connection()
    assert senders.of(connection) is senders.of(connection)
    del connection
    assert len(senders._by_connection) == 0


def test_messages_of_proven_senders_are_dropped_last_and_sent_first():
    waiting = Waiting()
    waiting.add(b"seen", Rank.SEEN)
    waiting.add(b"proven", Rank.PROVEN)
    for number in range(3 * QUEUE):
        waiting.add(b"%d" % number, Rank.CLAIMED)
    assert len(waiting) == QUEUE
    sent = [waiting.take() for _ in range(QUEUE)]
    assert sent == [b"proven", b"seen", *(b"%d" % number for number in range(2 * QUEUE + 2, 3 * QUEUE))]
    assert not waiting
    assert waiting.size == 0


@pytest.mark.parametrize("rank", Rank)
def test_what_waits_is_bounded_in_messages_and_bytes(rank):
    waiting, dropped = Waiting(), 0
    for number in range(4 * QUEUE):
        dropped += waiting.add(bytes(60_000 if number % 2 else 1), rank)
        assert len(waiting) <= QUEUE
        assert waiting.size <= QUEUE_BYTES
    assert dropped == 4 * QUEUE - len(waiting)


class TestOverTheWire:
    """At the service."""

    pytestmark = pytest.mark.anyio

    async def test_a_sender_beyond_its_rate_is_dropped_and_counted_and_others_are_not(
        self, connect, hear, counted, monkeypatch
    ):
        monkeypatch.setattr(rates, "BURST", 3.0)
        agent, stranger, reader = [await connect() for _ in range(3)]
        own = await reader.stream(B)
        for _ in range(5):
            await stranger.send(A, B, b"rubbish")
        await agent.send(A, B, b"offer")
        assert [await hear(own) for _ in range(4)] == [b"rubbish"] * 3 + [b"offer"]
        assert counted("dropped", "rate") == 2

    async def test_strangers_together_do_not_flood_one_agent_nor_keep_out_those_who_proved_their_key(
        self, connect, hear, counted, monkeypatch
    ):
        monkeypatch.setattr("meshloom_signal.shares.OWN_BURST", 1.0)
        monkeypatch.setattr("meshloom_signal.shares.SHARED_BURST", 2.0)
        strangers, agent, reader = [await connect() for _ in range(5)], await connect(), await connect()
        own = await reader.stream(B)
        back = await agent.proven(A)
        await agent.send(A, A, b"proven")
        assert await hear(back) == b"proven"
        for each in strangers:
            await each.send(C, B, b"rubbish")
        await agent.send(A, B, b"offer")
        assert [await hear(own) for _ in range(4)] == [b"rubbish"] * 3 + [b"offer"]
        assert counted("dropped", "rate") == 2
