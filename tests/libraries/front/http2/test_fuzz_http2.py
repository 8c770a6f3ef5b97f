"""Whatever comes, nothing but a breach of the protocol is raised, and what is kept is bounded."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshloom_front.http2 import frames
from meshloom_front.http2.allowance import BURST
from meshloom_front.http2.connection import CREDIT, LONGEST_BLOCK, STREAMS, ServerConnection
from meshloom_front.http2.frames import HTTP2Error
from meshloom_front.http2.headers import STATUS_200, encode

BLOCK = encode([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B")])
GREETING = frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 1000})


def frame(kind, flags, stream, payload):
    return frames.head(kind, flags, stream, len(payload)) + payload


streams = st.sampled_from([0, 1, 2, 3, 5, 7, 9, frames.MOST]) | st.integers(0, frames.MOST)
flags = st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]) | st.integers(0, 255)
numbers = st.sampled_from([0, 1, 1000, frames.WINDOW, frames.MOST]).map(lambda n: n.to_bytes(4, "big"))
some_settings = st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0, 1, 1 << 14, 1 << 15, frames.MOST]))).map(
    lambda pairs: frames.settings(dict(pairs))
)
well_formed = (
    st.builds(frame, st.integers(0, 10), flags, streams, st.binary(max_size=20) | numbers | st.just(bytes(8)))
    | st.builds(frame, st.sampled_from([frames.HEADERS, frames.CONTINUATION]), flags, streams, st.just(BLOCK))
    | st.builds(frame, st.just(frames.HEADERS), st.sampled_from([4, 5]), st.sampled_from([1, 3, 5, 7]), st.just(BLOCK))
    | st.builds(frame, st.just(frames.DATA), st.sampled_from([0, 1]), streams, st.binary(max_size=300))
    | st.builds(frame, st.just(frames.WINDOW_UPDATE), st.just(0), streams, numbers)
    | some_settings
)


def bounded(server):
    """What one connection may make us keep."""
    assert len(server._buffer) < frames.HEAD + frames.LONGEST
    assert server._block is None or len(server._block[2]) <= LONGEST_BLOCK
    assert len(server._streams) <= STREAMS
    assert len(server._ended_here) <= STREAMS
    assert set(server._sending._ready) <= set(server._streams)
    assert 0 <= server._credit <= CREDIT
    assert 0 <= server._allowance._left <= BURST
    assert server._sending.window <= frames.MOST
    for stream in server._streams.values():
        assert stream.window <= frames.MOST
        assert 0 <= stream.credit + stream.owed <= frames.WINDOW


def survives(pieces, *, answering=False):
    """Says these pieces until they break the protocol; whether they do."""
    server = ServerConnection()
    try:
        for piece in pieces:
            for event in server.receive(piece):
                if answering:
                    server.send_headers(event.stream, STATUS_200)
                    server.send_data(event.stream, bytes(1500))
                    server.end(event.stream, STATUS_200)
                    server.consumed(event.stream, len(getattr(event, "data", b"")))
            while server.take()[0]:
                pass
            bounded(server)
    except HTTP2Error as error:
        reason = str(error).encode()
    else:
        return True
    assert server.take()[0].endswith(reason)
    return False


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_after_the_greeting(said, greeted):
    survives([GREETING if greeted else frames.PREFACE, said])


A_BODY_FREED_BY_WHAT_BREAKS = [
    frame(frames.HEADERS, 4, 1, BLOCK),
    frames.settings({frames.INITIAL_WINDOW_SIZE: 16384, frames.MAX_FRAME_SIZE: 0}),
]


@settings(max_examples=150, deadline=None)
@example([frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), *A_BODY_FREED_BY_WHAT_BREAKS], True)
@given(st.lists(well_formed, max_size=30), st.booleans())
def test_arbitrary_frames(said, answering):
    survives([GREETING, *said], answering=answering)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_arbitrary_blocks(first, second):
    survives([GREETING, frame(frames.HEADERS, 5, 1, first), frame(frames.HEADERS, 5, 3, second)])


SESSION = GREETING + b"".join(
    (
        frame(frames.HEADERS, 4, 1, BLOCK),
        frame(frames.DATA, 0, 1, b"one"),
        frame(frames.HEADERS, 0x2D, 3, b"\2" + bytes(5) + BLOCK + bytes(2)),
        frame(frames.HEADERS, 0, 5, BLOCK[:5]),
        frame(frames.CONTINUATION, 4, 5, BLOCK[5:]),
        frame(frames.WINDOW_UPDATE, 0, 5, b"\0\0\1\0"),
        frame(frames.PING, 0, 0, b"12345678"),
        frame(frames.DATA, 9, 1, b"\1two\0"),
        frame(frames.RST_STREAM, 0, 5, b"\0\0\0\x08"),
    )
)


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SESSION) - 1), st.integers(1, 255)), max_size=4),
    piece=st.sampled_from([1, 7, len(SESSION)]),
    answering=st.booleans(),
)
def test_a_session_with_some_bytes_changed(changes, piece, answering):
    said = bytearray(SESSION)
    for at, change in changes:
        said[at] ^= change
    alive = survives([bytes(said[at : at + piece]) for at in range(0, len(said), piece)], answering=answering)
    assert alive or changes


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(SESSION)))
def test_half_a_session_is_waited_for(end):
    assert survives([SESSION[:end]])


def test_every_stream_may_hold_a_window_and_no_more():
    server = ServerConnection()
    server.receive(GREETING)
    held = 0
    for stream in range(1, 2 * STREAMS, 20):
        server.receive(frame(frames.HEADERS, 4, stream, BLOCK))
        events = server.receive(frame(frames.DATA, 0, stream, bytes(frames.LONGEST)) * 10)
        held += sum(len(event.data) for event in events if hasattr(event, "data"))
        bounded(server)
    assert held <= frames.WINDOW * STREAMS


def test_after_a_breach_nothing_is_kept():
    server = ServerConnection()
    with pytest.raises(HTTP2Error):
        server.receive(GREETING + frame(frames.PING, 0, 0, b"") + bytes(5))
    assert server._buffer == b""
