"""gRPC's messages within a body, however it is cut, and the fields around them."""

import struct
from urllib.parse import unquote

import pytest
from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from meshloom_front.http2 import frames
from meshloom_front.rpc import messages
from meshloom_front.rpc.messages import LONGEST, Messages, framed
from meshloom_front.rpc.status import CallFailed, Status


def all_of(found):
    return [found.take() for _ in range(len(found))]


def fields(block):
    return Decoder().decode(block)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"", bytes(300), bytes(70_000)]), max_size=8),
    st.lists(st.integers(1, 60) | st.just(50_000), min_size=1, max_size=20),
)
def test_any_pieces_give_the_same_messages(sent, cuts):
    body, found, held = b"".join(map(framed, sent)), Messages(), 0
    while body:
        for cut in cuts:
            found.feed(body[:cut])
            body = body[cut:]
            held = max(held, found.held)
    assert all_of(found) == sent
    assert found.held == found.size == 0
    assert held <= sum(len(message) + messages.KEPT for message in sent) + messages.HEAD


@given(st.binary(max_size=60), st.integers(1, 9))
def test_any_bytes_are_messages_or_a_failure(body, cut):
    found = Messages()
    try:
        for at in range(0, len(body), cut):
            found.feed(body[at : at + cut])
    except CallFailed as failure:
        status = failure.status
    else:
        status = None
    if status is None:
        whole = b"".join(map(framed, all_of(found)))
        assert body.startswith(whole)
        assert found.held == len(body) - len(whole)
    else:
        assert status in (Status.UNIMPLEMENTED, Status.RESOURCE_EXHAUSTED)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\1\0\0\0\1", Status.UNIMPLEMENTED),
        (b"\xff\0\0\0\0", Status.UNIMPLEMENTED),
        (struct.pack(">BL", 0, LONGEST + 1), Status.RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", Status.RESOURCE_EXHAUSTED),
    ],
)
def test_a_message_is_refused_by_its_head(head, status):
    for pieces in ([head], [head[:2], head[2:]], [framed(b"x") + head]):
        found = Messages()
        with pytest.raises(CallFailed) as caught:
            for piece in pieces:
                found.feed(piece)
        assert caught.value.status == status


def test_the_longest_message_is_taken():
    found = Messages()
    found.feed(framed(bytes(LONGEST)))
    assert len(found.only()) == LONGEST


@pytest.mark.parametrize("body", [b"", framed(b"") * 2, framed(b"x")[:-1], framed(b"x") + b"\0"])
def test_a_request_is_one_message(body):
    found = Messages()
    found.feed(body)
    with pytest.raises(CallFailed) as caught:
        found.only()
    assert caught.value.status == Status.INTERNAL


def test_messages_of_nothing_take_room_too():
    found = Messages()
    found.feed(framed(b"") * 1000)
    assert found.size == found.held == 1000 * messages.KEPT


def test_a_failure_is_told_in_printable_ascii():
    said = fields(messages.failure(Status.NOT_FOUND, "100% über\n", begun=False))
    assert said == [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "5"),
        ("grpc-message", "100%25 %C3%BCber%0A"),
    ]
    assert fields(messages.failure(Status.NOT_FOUND, "", begun=True)) == [("grpc-status", "5"), ("grpc-message", "")]


@given(st.text(max_size=50))
def test_any_text_can_be_told(text):
    told = dict(fields(messages.failure(Status.INTERNAL, text, begun=True)))["grpc-message"]
    assert told.isascii()
    assert unquote(told) == text


def test_a_long_text_and_one_that_is_none_are_told_as_far_as_it_goes():
    block = messages.failure(Status.INTERNAL, "€" * 100_000, begun=False)
    assert len(block) < frames.LONGEST, "it is one frame"
    assert unquote(dict(fields(block))["grpc-message"]) == "€" * messages.LONGEST_TEXT
    assert dict(fields(messages.failure(Status.INTERNAL, "\ud800", begun=True)))["grpc-message"] == "?"


def test_an_answer_begins_with_its_metadata():
    assert fields(messages.answer((("x-a", "1"), ("x-b", "ü")))) == [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("x-a", "1"),
        ("x-b", "ü"),
    ]
    assert fields(messages.NO_GRPC) == [(":status", "415"), ("content-type", "text/plain")]
    assert fields(messages.OK) == [("grpc-status", "0")]
