"""Frames that cost the sender nothing are allowed while there are not too many."""

import itertools

import pytest

from meshloom_front.http2 import frames
from meshloom_front.http2.allowance import BURST, EARNS, PER_SECOND, RESET_COSTS
from meshloom_front.http2.connection import STREAMS
from meshloom_front.http2.frames import Code, HTTP2Error
from meshloom_front.http2.headers import STATUS_200, encode
from meshloom_front.http2.sending import AT_ONCE

SPENT = 1
"""By the greeting."""


def odd():
    return itertools.count(1, 2)


def settings(peer):
    return itertools.repeat(frames.settings({}))


def pings(peer):
    return itertools.repeat(peer.frame(frames.PING, 0, 0, bytes(8)))


def answered_pings(peer):
    return itertools.repeat(peer.frame(frames.PING, frames.ACK, 0, bytes(8)))


def priorities(peer):
    return itertools.repeat(peer.frame(frames.PRIORITY, 0, 1, bytes(5)))


def unknown(peer):
    return itertools.repeat(peer.frame(0xF0))


def farewells(peer):
    return itertools.repeat(peer.frame(frames.GOAWAY, 0, 0, bytes(8)))


def windows(peer):
    return itertools.repeat(peer.frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\1"))


def empty_data(peer):
    peer.say(peer.request())
    return itertools.repeat(peer.data(1, b""))


def padding_alone(peer):
    peer.say(peer.request())
    return itertools.repeat(peer.frame(frames.DATA, frames.PADDED, 1, b"\0"))


def continuations(peer):
    peer.say(peer.frame(frames.HEADERS, 0, 1, encode([(b":method", b"POST")])))
    return itertools.repeat(peer.frame(frames.CONTINUATION, 0, 1))


@pytest.mark.parametrize(
    "flood",
    [
        settings,
        pings,
        answered_pings,
        priorities,
        unknown,
        farewells,
        windows,
        empty_data,
        padding_alone,
        continuations,
    ],
)
def test_frames_without_a_request_are_allowed_in_bursts_and_for_long(connect, flood):
    peer = connect()
    flooding = flood(peer)
    peer.say(*itertools.islice(flooding, BURST - SPENT))
    peer.now += 1
    peer.say(*itertools.islice(flooding, PER_SECOND))
    with pytest.raises(HTTP2Error) as caught:
        peer.say(next(flooding))
    assert caught.value.code == Code.ENHANCE_YOUR_CALM
    assert peer.codes(frames.GOAWAY) == [Code.ENHANCE_YOUR_CALM]


def test_a_long_silence_allows_no_more_than_a_burst(connect):
    peer = connect()
    flooding = pings(peer)
    peer.say(*itertools.islice(flooding, BURST - SPENT))
    peer.now += 1e6
    peer.say(*itertools.islice(flooding, BURST + 1))  # the first of them finds that time has passed
    with pytest.raises(HTTP2Error):
        peer.say(next(flooding))


def taken_back(peer):
    for stream in odd():
        yield peer.request(stream, ended=True) + peer.frame(frames.RST_STREAM, 0, stream, bytes(4))


def broken(peer):
    """The other side makes us reset (CVE-2025-8671)."""
    for stream in odd():
        yield peer.request(stream, fields=[])


def never_consumed(peer):
    for stream in odd():
        yield peer.request(stream, ended=True) + peer.data(stream, b"x")


@pytest.mark.parametrize("flood", [taken_back, broken, never_consumed])
def test_requests_that_come_to_nothing_cost_more(connect, flood):
    peer = connect()
    flooding = flood(peer)
    peer.say(*itertools.islice(flooding, (BURST - SPENT) // RESET_COSTS))
    with pytest.raises(HTTP2Error) as caught:
        peer.say(next(flooding))
    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_requests_refused_cost_more(connect):
    peer = connect()
    numbers = odd()
    peer.say(*(peer.request(next(numbers)) for _ in range(STREAMS + (BURST - SPENT) // RESET_COSTS)))
    with pytest.raises(HTTP2Error) as caught:
        peer.say(peer.request(next(numbers)))
    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_requests_that_are_answered_cost_nothing(connect):
    peer = connect()
    for stream in range(1, 4 * BURST, 2):
        assert len(peer.say(peer.request(stream, ended=True))) == 1
        peer.server.end(stream, STATUS_200)
        peer.server.take()


def test_a_reset_of_what_was_over_costs_little(connect):
    peer = connect()
    for stream in range(1, 2 * (BURST - SPENT), 2):
        peer.say(peer.request(stream))
        peer.server.end(stream, STATUS_200)
        assert peer.say(peer.frame(frames.RST_STREAM, 0, stream, bytes(4))) == []


def test_who_reads_much_may_say_so_often(connect):
    """A client answers each of our frames with windows, and some with a ping."""
    peer = connect()
    peer.say(peer.request(ended=True))
    ping, window = next(pings(peer)), (1000).to_bytes(4, "big")
    grown = peer.frame(frames.WINDOW_UPDATE, 0, 0, window) + peer.frame(frames.WINDOW_UPDATE, 0, 1, window)
    for _ in range(BURST):
        peer.server.send_data(1, bytes(100))
        peer.server.take()
        assert peer.say(ping, grown) == []


def test_a_window_of_a_byte_at_a_time_is_not_allowed_for_long(connect):
    peer = connect(INITIAL_WINDOW_SIZE=0)
    peer.say(peer.request(ended=True))
    peer.server.send_data(1, bytes(1 << 20))
    window = peer.frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1")
    with pytest.raises(HTTP2Error) as caught:
        for _ in range(BURST + 1000):
            peer.say(window)
            peer.server.take()
    assert caught.value.code == Code.ENHANCE_YOUR_CALM


def test_nothing_is_earned_beyond_a_burst(connect):
    peer = connect(INITIAL_WINDOW_SIZE=frames.MOST)
    peer.say(peer.frame(frames.WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")), peer.request(ended=True))
    for _ in range(2 * EARNS * BURST // AT_ONCE + 1):
        peer.server.send_data(1, bytes(AT_ONCE))
        peer.server.take()
    with pytest.raises(HTTP2Error):
        peer.say(*itertools.islice(pings(peer), BURST + 1))


def test_changing_the_windows_of_many_streams_costs_more_however_it_is_said(connect):
    peer = connect()
    peer.say(*(peer.request(stream) for stream in range(1, 2 * STREAMS, 2)))
    often = (b"\0\4\0\0\0\1" + b"\0\4\0\0\0\2") * 1000
    frame = peer.frame(frames.SETTINGS, 0, 0, often)
    with pytest.raises(HTTP2Error) as caught:
        peer.say(frame)
    assert caught.value.code == Code.ENHANCE_YOUR_CALM
