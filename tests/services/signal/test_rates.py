"""How much each may send, and what is dropped for whom."""

import pytest

from meshloom.model.keys import PrivateKey
from meshloom_signal import rates
from meshloom_signal.rates import BURST, MOST_KEYS, PER_SECOND, PROVEN_BURST, Rate, Sender, Senders
from meshloom_signal.reader import QUEUE, QUEUE_BYTES, Waiting

A, B, C = (PrivateKey.of(name * 32).public.text for name in (b"A", b"B", b"C"))


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


def test_what_is_known_of_a_connection_goes_with_it():
    class Connection:
        pass

    senders, connection = Senders(lambda: 0.0), Connection()
    assert senders.of(connection) is senders.of(connection)
    del connection
    assert len(senders._by_connection) == 0


def test_messages_of_proven_senders_are_dropped_last_and_sent_first():
    waiting = Waiting()
    waiting.add(b"proven", proven=True)
    for number in range(3 * QUEUE):
        waiting.add(b"%d" % number, proven=False)
    assert len(waiting) == QUEUE
    sent = [waiting.take() for _ in range(QUEUE)]
    assert sent == [b"proven", *(b"%d" % number for number in range(2 * QUEUE + 1, 3 * QUEUE))]
    assert not waiting
    assert waiting.size == 0


@pytest.mark.parametrize("proven", [False, True])
def test_what_waits_is_bounded_in_messages_and_bytes(proven):
    waiting, dropped = Waiting(), 0
    for number in range(4 * QUEUE):
        dropped += waiting.add(bytes(60_000 if number % 2 else 1), proven=proven)
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
        monkeypatch.setattr("meshloom_signal.reader.UNPROVEN_BURST", 3.0)
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
