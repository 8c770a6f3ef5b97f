"""Whatever breaks the protocol ends the stream or the connection, with the code that RFC 9113 gives."""

import pytest

from meshloom_front.http2 import frames
from meshloom_front.http2.connection import LONGEST_BLOCK
from meshloom_front.http2.events import StreamEnded
from meshloom_front.http2.frames import Code, HTTP2Error
from meshloom_front.http2.headers import LONGEST_LIST, encode

METHOD, SCHEME, PATH = (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B")
END = frames.END_HEADERS


def frame(kind, flags=0, stream=0, payload=b""):
    return frames.head(kind, flags, stream, len(payload)) + payload


def request(stream=1, flags=END, fields=(METHOD, SCHEME, PATH)):
    return frame(frames.HEADERS, flags, stream, encode(fields))


OPENED = request()
ENDED = request(flags=END | frames.END_STREAM)
GONE = ENDED + frame(frames.RST_STREAM, 0, 1, bytes(4))
LARGEST = (frames.MOST - frames.WINDOW + 1).to_bytes(4, "big")

CONNECTION = {
    "4.1 too long": (bytes((0, 0x40, 1, 0xFE, 0)) + bytes(4), Code.FRAME_SIZE_ERROR),
    "4.3 a block that cannot be read": (frame(frames.HEADERS, END, 1, b"\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "4.3 a block that is cut": (frame(frames.HEADERS, END, 1, encode([METHOD])[:-1]), Code.COMPRESSION_ERROR),
    "4.3 a block interrupted by another stream": (request(1, 0) + request(3), Code.PROTOCOL_ERROR),
    "4.3 a block interrupted by a ping": (request(1, 0) + frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "4.3 a block interrupted by what nobody knows": (request(1, 0) + frame(0xFE), Code.PROTOCOL_ERROR),
    "4.3 continued on another stream": (request(1, 0) + frame(frames.CONTINUATION, END, 3), Code.PROTOCOL_ERROR),
    "5.1 data on an idle stream": (frame(frames.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "5.1 reset of an idle stream": (frame(frames.RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "5.1 window of an idle stream": (frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), Code.PROTOCOL_ERROR),
    "5.1 data on a server's stream": (request(3) + frame(frames.DATA, 0, 2, b"x"), Code.PROTOCOL_ERROR),
    "5.1 data on a closed stream": (GONE + frame(frames.DATA, 0, 1, b"x"), Code.STREAM_CLOSED),
    "5.1 headers on a closed stream": (GONE + request(), Code.STREAM_CLOSED),
    "5.1.1 a number that was passed over": (request(5) + request(3), Code.STREAM_CLOSED),
    "5.1.1 an even number": (request(2), Code.PROTOCOL_ERROR),
    "5.1.1 headers of no stream": (request(0), Code.PROTOCOL_ERROR),
    "6.1 data of no stream": (frame(frames.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "6.1 padding longer than the frame": (OPENED + frame(frames.DATA, frames.PADDED, 1, b"\1"), Code.PROTOCOL_ERROR),
    "6.1 padding without its length": (OPENED + frame(frames.DATA, frames.PADDED, 1), Code.PROTOCOL_ERROR),
    "6.2 padding longer than the block": (frame(frames.HEADERS, END | frames.PADDED, 1, b"\x09a"), Code.PROTOCOL_ERROR),
    "6.2 half a priority": (frame(frames.HEADERS, END | frames.PRIORITIZED, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "6.3 priority of no stream": (frame(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "6.4 reset of no stream": (frame(frames.RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "6.4 reset of the wrong length": (OPENED + frame(frames.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "6.5 settings of a stream": (frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "6.5 settings of the wrong length": (frame(frames.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "6.5 settings acknowledged with some": (frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "6.5.2 push neither on nor off": (frames.settings({2: 2}), Code.PROTOCOL_ERROR),
    "6.5.2 a window too large": (frames.settings({4: 1 << 31}), Code.FLOW_CONTROL_ERROR),
    "6.5.2 frames too short": (frames.settings({5: (1 << 14) - 1}), Code.PROTOCOL_ERROR),
    "6.5.2 frames too long": (frames.settings({5: 1 << 24}), Code.PROTOCOL_ERROR),
    "6.6 a promise": (frame(frames.PUSH_PROMISE, END, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "6.7 ping of a stream": (frame(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "6.7 ping of the wrong length": (frame(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "6.8 a stream goes away": (frame(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "6.9 a window of the wrong length": (frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "6.9 a window by nothing": (frame(frames.WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "6.9.1 a window too large": (frame(frames.WINDOW_UPDATE, 0, 0, LARGEST), Code.FLOW_CONTROL_ERROR),
    "6.9.2 a stream's window too large by settings": (
        OPENED + frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1") + frames.settings({4: frames.MOST}),
        Code.FLOW_CONTROL_ERROR,
    ),
    "6.10 nothing to continue": (OPENED + frame(frames.CONTINUATION, END, 1), Code.PROTOCOL_ERROR),
    "RFC 7541 4.2 three table-size updates": (
        frame(frames.HEADERS, END, 1, b"\x20\x3f\xe1\x1f\x20" + encode([METHOD, SCHEME, PATH])),
        Code.COMPRESSION_ERROR,
    ),
    "RFC 7541 4.2 table-size updates alone": (frame(frames.HEADERS, END, 1, b"\x20" * 16_000), Code.COMPRESSION_ERROR),
    "RFC 7541 4.2 a table-size update after a field": (
        frame(frames.HEADERS, END, 1, encode([METHOD, SCHEME, PATH]) + b"\x20"),
        Code.COMPRESSION_ERROR,
    ),
    "10.5.1 fields too long": (request(fields=[METHOD, (b"x", bytes(LONGEST_LIST - 70))]), Code.ENHANCE_YOUR_CALM),
    "10.5.1 a block too long": (
        frame(frames.HEADERS, 0, 1, bytes(1 << 14)) + frame(frames.CONTINUATION, 0, 1, bytes(1 << 14)) * 2,
        Code.ENHANCE_YOUR_CALM,
    ),
}


def fields(*more, without=()):
    return request(fields=[each for each in (METHOD, SCHEME, PATH) if each[0] not in without] + list(more))


STREAM = {
    "5.1 data after the end": (ENDED + frame(frames.DATA, 0, 1, b"x"), Code.STREAM_CLOSED),
    "5.1 headers after the end": (ENDED + ENDED, Code.STREAM_CLOSED),
    "6.3 priority of the wrong length": (OPENED + frame(frames.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "6.9 a window by nothing": (OPENED + frame(frames.WINDOW_UPDATE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "6.9.1 a window too large": (OPENED + frame(frames.WINDOW_UPDATE, 0, 1, LARGEST), Code.FLOW_CONTROL_ERROR),
    "8.1 fields after a body that do not end it": (OPENED + OPENED, Code.PROTOCOL_ERROR),
    "8.1 pseudo-header fields after a body": (OPENED + ENDED, Code.PROTOCOL_ERROR),
    "8.2 a name in upper case": (fields((b"X-a", b"")), Code.PROTOCOL_ERROR),
    "8.2 a name that is empty": (fields((b"", b"a")), Code.PROTOCOL_ERROR),
    "8.2.1 a name with a space": (fields((b"x a", b"")), Code.PROTOCOL_ERROR),
    "8.2.1 a name with a colon": (fields((b"x:a", b"")), Code.PROTOCOL_ERROR),
    "8.2.1 a name that is not ASCII": (fields(("ä".encode(), b"")), Code.PROTOCOL_ERROR),
    "8.2.1 a value of two lines": (fields((b"x", b"a\r\nb: c")), Code.PROTOCOL_ERROR),
    "8.2.1 a value with a zero": (fields((b"x", b"a\0")), Code.PROTOCOL_ERROR),
    "8.2.2 a field of connections": (fields((b"connection", b"close")), Code.PROTOCOL_ERROR),
    "8.2.2 te that is not trailers": (fields((b"te", b"gzip")), Code.PROTOCOL_ERROR),
    "8.3 one that is unknown": (fields((b":x", b"")), Code.PROTOCOL_ERROR),
    "8.3 one of answers": (fields((b":status", b"200")), Code.PROTOCOL_ERROR),
    "8.3 one that is late": (request(fields=[METHOD, SCHEME, (b"x", b""), PATH]), Code.PROTOCOL_ERROR),
    "8.3.1 one twice": (fields(PATH), Code.PROTOCOL_ERROR),
    "8.3.1 no method": (fields(without=(b":method",)), Code.PROTOCOL_ERROR),
    "8.3.1 no scheme": (fields(without=(b":scheme",)), Code.PROTOCOL_ERROR),
    "8.3.1 no path": (fields(without=(b":path",)), Code.PROTOCOL_ERROR),
    "8.3.1 an empty path": (fields((b":path", b""), without=(b":path",)), Code.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("breach", CONNECTION)
def test_a_breach_ends_the_connection(connect, breach):
    said, code = CONNECTION[breach]
    peer = connect()
    with pytest.raises(HTTP2Error) as caught:
        peer.say(said)
    assert caught.value.code == code
    assert peer.codes(frames.GOAWAY) == [code]


@pytest.mark.parametrize("breach", STREAM)
def test_a_breach_ends_the_stream_only(connect, breach):
    said, code = STREAM[breach]
    peer = connect()
    assert peer.say(said)[-1] == StreamEnded(1)
    assert peer.codes() == [code]
    assert [event.stream for event in peer.say(peer.request(7))] == [7]


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n", frames.PREFACE[:-1] + b"x", frames.PREFACE + OPENED, frames.PREFACE + frame(0xFE)],
)
def test_a_connection_begins_with_the_preface_and_settings(connect, said):
    peer = connect(greet=False)
    with pytest.raises(HTTP2Error) as caught:
        peer.say(said)
    assert caught.value.code == Code.PROTOCOL_ERROR


@pytest.mark.parametrize("updates", [b"", b"\x20", b"\x20\x3f\xe1\x1f"])
def test_two_updates_of_the_tables_size_are_allowed(connect, updates):
    assert len(connect().say(frame(frames.HEADERS, END, 1, updates + encode([METHOD, SCHEME, PATH])))) == 1


def test_fields_may_be_as_long_as_the_settings_say_and_no_longer(connect):
    peer = connect(greet=False)
    settings = dict(frames.parse_settings(peer.heard()[0][3]))
    assert settings[frames.MAX_HEADER_LIST_SIZE] == LONGEST_LIST < LONGEST_BLOCK
    used = sum(len(name) + len(value) + 32 for name, value in (METHOD, SCHEME, PATH, (b"x", b"")))
    for room, fits in ((LONGEST_LIST - used, True), (LONGEST_LIST - used + 1, False)):
        peer = connect()
        block = encode([METHOD, SCHEME, PATH, (b"x", b"a" * room)])
        cut = 1 << 13
        said = frame(frames.HEADERS, 0, 1, block[:cut]) + frame(frames.CONTINUATION, END, 1, block[cut:])
        if fits:
            assert len(peer.say(said)) == 1
        else:
            with pytest.raises(HTTP2Error, match="too long"):
                peer.say(said)
