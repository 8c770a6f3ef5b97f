"""Flow control: nobody sends more than the other side allows, on a stream or on all of them."""

import pytest

from meshloom_front.http2 import frames
from meshloom_front.http2.connection import CREDIT
from meshloom_front.http2.events import DataCame, StreamEnded
from meshloom_front.http2.frames import Code, HTTP2Error
from meshloom_front.http2.headers import STATUS_200
from meshloom_front.http2.sending import AT_ONCE

FULL = bytes(frames.LONGEST)


def window(peer, stream, increment):
    return peer.frame(frames.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def sizes(heard, stream=1):
    """Of the frames of a body."""
    return [len(payload) for kind, _, number, payload in heard if kind == frames.DATA and number == stream]


def windows(heard):
    """What the other side is allowed, by streams."""
    found = {}
    for kind, _, stream, payload in heard:
        if kind == frames.WINDOW_UPDATE:
            found[stream] = found.get(stream, 0) + int.from_bytes(payload, "big")
    return found


def answered(peer, body, stream=1):
    """A request came, and that is its answer."""
    peer.say(peer.request(stream, ended=True))
    peer.server.send_headers(stream, STATUS_200)
    peer.server.send_data(stream, body)
    peer.server.end(stream, b"\x88")


def test_a_body_goes_out_as_far_as_the_streams_window_allows(connect):
    peer = connect(INITIAL_WINDOW_SIZE=10)
    answered(peer, bytes(25))
    assert sizes(peer.heard()) == [10]
    assert peer.server.waits(1)
    peer.say(window(peer, 1, 3))
    assert sizes(peer.heard()) == [3]
    peer.say(window(peer, 0, 1 << 20))
    assert sizes(peer.heard()) == [], "the connection's window is not the stream's"
    peer.say(window(peer, 1, 100))
    heard = peer.heard()
    assert sizes(heard) == [12]
    assert heard[-1][:3] == (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1)
    assert not peer.server.waits(1)


def test_all_bodies_together_go_out_as_far_as_the_connections_window_allows(connect):
    peer = connect(INITIAL_WINDOW_SIZE=1 << 20)
    for stream in (1, 3):
        answered(peer, bytes(50_000), stream)
    heard = peer.heard()
    assert sum(sizes(heard, 1)) + sum(sizes(heard, 3)) == frames.WINDOW
    assert max(sizes(heard)) <= frames.LONGEST
    peer.say(window(peer, 0, 40_000))
    heard += peer.heard()
    assert sum(sizes(heard, 1)) == sum(sizes(heard, 3)) == 50_000


def test_streams_take_turns(connect):
    peer = connect(INITIAL_WINDOW_SIZE=1 << 20)
    peer.say(window(peer, 0, 1 << 20))
    for stream in (1, 3):
        answered(peer, FULL * 3, stream)
    assert [number for kind, _, number, _ in peer.heard() if kind == frames.DATA] == [1, 3, 1, 3, 1, 3]


def test_settings_change_the_windows_of_open_streams_even_below_zero(connect):
    peer = connect(INITIAL_WINDOW_SIZE=100)
    answered(peer, bytes(300))
    assert sizes(peer.heard()) == [100]
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 30}))
    peer.say(window(peer, 1, 70))
    assert sizes(peer.heard()) == [], "0 after -70"
    peer.say(window(peer, 1, 1))
    assert sizes(peer.heard()) == [1]
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 50}))
    assert sizes(peer.heard()) == [20]
    answered(peer, bytes(300), 3)
    assert sizes(peer.heard(), 3) == [50]


def test_a_window_taken_back_stops_what_waits_already(connect):
    peer = connect(INITIAL_WINDOW_SIZE=100)
    answered(peer, bytes(300))
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    assert sizes(peer.heard()) == []


def test_frames_are_as_long_as_the_other_side_takes_and_no_longer_than_is_fair(connect):
    for longest, seen in ((20_000, 20_000), ((1 << 24) - 1, AT_ONCE)):
        peer = connect(INITIAL_WINDOW_SIZE=1 << 20, MAX_FRAME_SIZE=longest)
        peer.say(window(peer, 0, 1 << 20))
        answered(peer, bytes(300_000))
        heard = peer.heard()
        assert max(sizes(heard)) == seen
        assert sum(sizes(heard)) == 300_000


def test_a_little_at_a_time_is_given_to_the_network(connect):
    peer = connect(INITIAL_WINDOW_SIZE=1 << 20)
    peer.say(window(peer, 0, 1 << 20))
    answered(peer, bytes(500_000))
    assert len(peer.server.take()[0]) < AT_ONCE + 2 * frames.LONGEST
    assert peer.server.take(bodies=False) == (b"", [])
    peer.say(peer.frame(frames.PING, 0, 0, bytes(8)))
    assert peer.parse(peer.server.take(bodies=False)[0]) == [(frames.PING, frames.ACK, 0, bytes(8))]


def test_more_than_a_streams_window_ends_the_stream(connect):
    peer = connect()
    events = peer.say(peer.request(), *[peer.data(1, FULL)] * 3, peer.data(1, FULL[:-1]))
    assert sum(len(event.data) for event in events[1:]) == frames.WINDOW
    assert peer.say(peer.data(1, b"x")) == [StreamEnded(1)]
    assert peer.codes() == [Code.FLOW_CONTROL_ERROR]


def test_what_is_consumed_may_be_sent_again(connect):
    peer = connect()
    peer.say(peer.request(), *[peer.data(1, FULL)] * 3)
    assert windows(peer.heard()) == {}
    peer.server.consumed(1, 1)
    assert windows(peer.heard()) == {}, "little is allowed later"
    peer.server.consumed(1, 3 * len(FULL) - 1)
    assert windows(peer.heard()) == {1: 3 * len(FULL)}
    assert len(peer.say(*[peer.data(1, FULL)] * 3)) == 3


def test_padding_counts_for_the_windows(connect):
    peer = connect()
    padded = peer.frame(frames.DATA, frames.PADDED, 1, bytes((255,)) + b"x" + bytes(255))
    rounds = frames.WINDOW // 257
    events = peer.say(peer.request(), *[padded] * rounds)
    assert events[1:] == [DataCame(1, b"x", False)] * rounds
    assert windows(peer.heard())[1] > frames.WINDOW // 2, "padding is consumed at once"


def test_the_connections_window_grows_by_what_came_whether_consumed_or_not(connect):
    peer = connect(greet=False)
    granted = windows(peer.heard())[0] + frames.WINDOW
    assert granted == CREDIT
    peer.say(frames.PREFACE, frames.settings({}))
    sent = 0
    for stream in range(1, 201, 2):
        peer.say(peer.request(stream))
        for _ in range(3):
            peer.say(peer.data(stream, FULL))
            sent += len(FULL)
            granted += windows(peer.heard()).get(0, 0)
            assert CREDIT // 2 - len(FULL) <= granted - sent <= CREDIT
    assert sent > 4 * CREDIT


def test_more_than_the_connections_window_ends_the_connection(connect):
    peer = connect()
    peer.say(peer.request())
    peer.server._credit = 3  # it is given back so early that nobody reads of less than a frame
    with pytest.raises(HTTP2Error) as caught:
        peer.say(peer.data(1, bytes(4)))
    assert caught.value.code == Code.FLOW_CONTROL_ERROR
