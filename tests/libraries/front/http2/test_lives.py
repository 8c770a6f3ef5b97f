"""What streams and connections go through, from the first byte to the last."""

import pytest

from meshloom_front.http2 import frames
from meshloom_front.http2.connection import STREAMS
from meshloom_front.http2.events import DataCame, RequestCame, StreamEnded
from meshloom_front.http2.frames import Code, HTTP2Error
from meshloom_front.http2.headers import STATUS_200, encode

FIELDS = {b":method": b"POST", b":scheme": b"http", b":path": b"/a/B", b"te": b"trailers"}
BLOCK = encode(FIELDS.items())
LAST = encode([(b"grpc-status", b"0")])
END = frames.END_HEADERS | frames.END_STREAM


def test_the_first_frames_say_what_is_allowed(connect):
    settings, window = connect(greet=False).heard()
    assert settings[:3] == (frames.SETTINGS, 0, 0)
    assert dict(frames.parse_settings(settings[3]))[frames.MAX_CONCURRENT_STREAMS] == STREAMS
    assert window[0] == frames.WINDOW_UPDATE


def test_settings_and_pings_are_answered_and_answers_are_not(connect):
    peer = connect()
    said = frames.settings({}), peer.frame(frames.PING, 0, 0, b"12345678")
    assert peer.say(*said) == []
    assert peer.heard() == [(frames.SETTINGS, frames.ACK, 0, b""), (frames.PING, frames.ACK, 0, b"12345678")]
    peer.say(peer.frame(frames.SETTINGS, frames.ACK), peer.frame(frames.PING, frames.ACK, 0, bytes(8)))
    assert peer.heard() == []
    peer.server.ping()
    assert peer.heard() == [(frames.PING, 0, 0, bytes(8))]


def test_what_nobody_knows_is_ignored(connect):
    peer = connect()
    frame = peer.frame
    known = frame(frames.PRIORITY, 0, 9, bytes(5)), frame(frames.GOAWAY, 0, 0, bytes(8)), frames.settings({0xF0: 1})
    assert peer.say(frame(0xF0, 0xFF, 77, b"x"), *known, peer.frame(frames.PING, 0xFE, 0, bytes(8))) == []
    assert len(peer.heard()) == 2
    reserved = bytearray(peer.request())
    reserved[5] |= 0x80
    assert peer.say(bytes(reserved)) == [RequestCame(1, FIELDS, False)]


def session(peer):
    """All kinds of frames, and what they tell."""
    padded = peer.frame(
        frames.HEADERS, END | frames.PADDED | frames.PRIORITIZED, 3, b"\3" + bytes(5) + BLOCK + bytes(3)
    )
    said = (
        peer.request(),
        peer.data(1, b"one"),
        padded,
        peer.frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\7"),
        peer.frame(frames.HEADERS, 0, 5, BLOCK[:3]),
        peer.frame(frames.CONTINUATION, 0, 5, BLOCK[3:9]),
        peer.frame(frames.CONTINUATION, 0, 5),
        peer.frame(frames.CONTINUATION, frames.END_HEADERS, 5, BLOCK[9:]),
        peer.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\4two" + bytes(4)),
        peer.frame(frames.RST_STREAM, 0, 5, bytes(4)),
    )
    told = [RequestCame(1, FIELDS, False), DataCame(1, b"one", False), RequestCame(3, FIELDS, True)]
    return b"".join(said), [*told, RequestCame(5, FIELDS, False), DataCame(1, b"two", True), StreamEnded(5)]


def test_frames_may_come_in_any_two_pieces(connect):
    said, told = session(connect())
    for cut in range(len(said)):
        peer = connect()
        assert peer.say(said[:cut]) + peer.say(said[cut:]) == told


def test_frames_may_come_byte_by_byte_from_the_preface_on(connect):
    peer = connect(greet=False)
    said, told = session(peer)
    events = []
    for byte in frames.PREFACE + frames.settings({}) + said:
        events += peer.say(bytes((byte,)))
    assert events == told


def test_the_blocks_of_a_connection_build_on_each_other(connect):
    peer = connect()
    first = b"\x83\x86\x44\x04/a/B\x40\x02te\x08trailers"
    assert peer.say(peer.frame(frames.HEADERS, END, 1, first)) == [RequestCame(1, FIELDS, True)]
    assert peer.say(peer.frame(frames.HEADERS, END, 3, b"\x83\x86\xbf\xbe")) == [RequestCame(3, FIELDS, True)]
    broken = peer.frame(frames.HEADERS, END, 5, b"\x40\x01x\x01y")
    assert peer.say(broken) == [StreamEnded(5)]
    again = peer.frame(frames.HEADERS, END, 7, b"\x83\x86\xc0\xbf\xbe")
    assert peer.say(again) == [RequestCame(7, FIELDS | {b"x": b"y"}, True)]


def test_of_fields_that_occur_again_the_first_counts(connect):
    peer = connect()
    (came,) = peer.say(peer.request(fields=[*FIELDS.items(), (b"x", b"1"), (b"x", b"2")]))
    assert came.fields[b"x"] == b"1"


def test_fields_after_a_body_end_it(connect):
    peer = connect()
    peer.say(peer.request(), peer.data(1, b"x"))
    assert peer.say(peer.request(ended=True, fields=[(b"x", b"y")])) == [DataCame(1, b"", True)]


def answer(server, stream, body=b"answer"):
    server.send_headers(stream, STATUS_200)
    server.send_data(stream, body)
    server.end(stream, LAST)


def test_an_answer_is_fields_a_body_and_fields(connect):
    peer = connect()
    peer.say(peer.request(ended=True))
    answer(peer.server, 1)
    assert peer.heard() == [
        (frames.HEADERS, frames.END_HEADERS, 1, STATUS_200),
        (frames.DATA, 0, 1, b"answer"),
        (frames.HEADERS, END, 1, LAST),
    ]
    assert not peer.server._streams


def test_who_is_answered_early_need_not_go_on(connect):
    peer = connect()
    peer.say(peer.request())
    answer(peer.server, 1)
    assert peer.heard()[-1] == (frames.RST_STREAM, 0, 1, bytes(4))
    on_its_way = peer.data(1, b"x"), peer.frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), peer.request(ended=True)
    assert peer.say(*on_its_way, peer.frame(frames.RST_STREAM, 0, 1, bytes(4))) == []
    assert peer.heard() == []


def test_an_answer_may_end_after_the_request_was_taken_back(connect):
    peer = connect()
    peer.say(peer.request(), peer.frame(frames.RST_STREAM, 0, 1, b"\0\0\0\x08"))
    answer(peer.server, 1)
    peer.server.reset(1, Code.CANCEL)
    peer.server.consumed(1, 1 << 20)
    assert not peer.server.waits(1)
    assert peer.heard() == []


def test_frames_of_all_streams_reset_here_are_ignored(connect):
    peer = connect()
    streams = range(1, 2 * STREAMS, 2)
    peer.say(*map(peer.request, streams))
    for stream in streams:
        peer.server.reset(stream, Code.CANCEL)
    assert peer.codes() == [Code.CANCEL] * STREAMS
    assert peer.say(*(peer.data(stream, b"x") for stream in streams)) == []


def test_a_reset_forgets_what_waits(connect):
    peer = connect(INITIAL_WINDOW_SIZE=3)
    peer.say(peer.request())
    answer(peer.server, 1)
    peer.server.reset(1, Code.INTERNAL_ERROR)
    assert peer.codes() == [Code.INTERNAL_ERROR]
    assert not peer.server._sending._ready


def test_streams_beyond_the_limit_are_refused_with_what_they_say(connect):
    peer = connect()
    limit = 2 * STREAMS
    assert len(peer.say(*map(peer.request, range(1, limit, 2)))) == STREAMS
    assert peer.say(peer.request(limit + 1), peer.data(limit + 1, b"x", ended=True)) == []
    assert peer.codes() == [Code.REFUSED_STREAM]
    peer.say(peer.frame(frames.RST_STREAM, 0, 1, bytes(4)))
    assert len(peer.say(peer.request(limit + 3))) == 1, "there is room again"


def test_going_away_ends_what_is_open_and_refuses_what_comes(connect):
    peer = connect()
    peer.say(peer.request())
    peer.server.go_away()
    peer.server.go_away()
    assert peer.heard() == [(frames.GOAWAY, 0, 0, b"\0\0\0\1" + bytes(4) + b"the server is stopping")]
    assert peer.say(peer.request(3), peer.data(3, b"on its way", ended=True)) == []
    assert peer.codes() == [Code.REFUSED_STREAM]
    assert peer.say(peer.data(1, b"x", ended=True)) == [DataCame(1, b"x", True)]
    answer(peer.server, 1)
    assert peer.heard()[-1][0] == frames.HEADERS
    with pytest.raises(HTTP2Error):
        peer.say(peer.request(4))
    goaway = peer.heard()[-1]
    assert goaway[3][:4] == b"\0\0\0\1", "the last stream never becomes a later one (section 6.8)"


def test_a_long_string_is_encoded_as_it_is_decoded(connect):
    peer = connect()
    for stream, length in enumerate((0, 126, 127, 128, 254, 255, 256, 16_000)):
        fields = [*FIELDS.items(), (b"x", b"v" * length)]
        (came,) = peer.say(peer.request(2 * stream + 1, fields=fields))
        assert came.fields == dict(fields)


def test_who_remembers_less_is_told_that_this_is_understood(connect):
    """Else its decoder takes our blocks for broken (RFC 7541 section 4.2)."""
    peer = connect(HEADER_TABLE_SIZE=4095, INITIAL_WINDOW_SIZE=2)
    peer.say(peer.request(ended=True), peer.request(3, ended=True))
    answer(peer.server, 1)
    peer.server.end(3, LAST)
    heard = peer.heard()
    peer.say(peer.frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\x09"))
    heard += peer.heard()
    assert [payload for kind, _, _, payload in heard if kind == frames.HEADERS] == [
        b"\x20" + STATUS_200,
        b"\x20" + LAST,
        b"\x20" + LAST,
    ]
