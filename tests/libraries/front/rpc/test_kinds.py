"""Calls of every kind by gRPC's own client: what goes there, what comes back, and how a call ends."""

import grpc
import pytest

from meshloom_front.http2 import frames
from meshloom_front.rpc import messages
from meshloom_front.rpc.call import bidirectional, plain, server_streaming, unary
from meshloom_front.rpc.status import CallFailed, Status

pytestmark = pytest.mark.anyio


async def echo(request, call):
    return request


async def three_times(request, call):
    for number in range(3):
        await call.write(request + b"%d" % number)


async def back_and_forth(call):
    async for message in call.requests():
        await call.write(message * 2)


async def failing(request, call):
    raise CallFailed(Status.PERMISSION_DENIED, "100% nö\n€")


async def broken(request, call):
    raise ValueError("secret")


async def half(request, call):
    await call.write(b"half")
    raise CallFailed(Status.DATA_LOSS, "the rest is gone")


async def refusing(call):
    raise CallFailed(Status.UNAUTHENTICATED, "who are you")


async def fails(call, status, text=None):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code().value[0] == status
    if text is not None:
        assert caught.value.details() == text


@pytest.mark.parametrize("method", [plain(lambda request, call: request), unary(echo)])
async def test_one_message_there_and_one_back(serve, method):
    served = await serve(Say=method)
    async with served.channel() as channel:
        say = channel.unary_unary("/t.T/Say")
        for message in (b"", b"hi", bytes(100_000), b"x" * messages.LONGEST):
            assert await say(message, timeout=10) == message


async def test_an_answer_of_three_megabytes_arrives(serve):
    served = await serve(Say=plain(lambda request, call: request * 3_000_000), Down=server_streaming(large))
    async with served.channel() as channel:
        assert await channel.unary_unary("/t.T/Say")(b"x", timeout=20) == b"x" * 3_000_000
        assert [len(each) async for each in channel.unary_stream("/t.T/Down")(b"", timeout=20)] == [3_000_000, 1]


async def large(request, call):
    await call.write(bytes(3_000_000))
    await call.write(b"x")


async def test_many_messages_back(serve):
    served = await serve(Down=server_streaming(three_times))
    async with served.channel() as channel:
        call = channel.unary_stream("/t.T/Down")(b"x", timeout=10)
        assert [each async for each in call] == [b"x0", b"x1", b"x2"]
        assert await call.code() == grpc.StatusCode.OK


async def test_no_message_back(serve):
    async def nothing(request, call):
        pass

    served = await serve(Down=server_streaming(nothing))
    async with served.channel() as channel:
        assert [each async for each in channel.unary_stream("/t.T/Down")(b"", timeout=10)] == []


async def test_many_messages_there_and_back(serve):
    served = await serve(Both=bidirectional(back_and_forth))
    async with served.channel() as channel:
        call = channel.stream_stream("/t.T/Both")(timeout=10)
        for message in (b"a", b"", b"b" * 200_000):
            await call.write(message)
            assert await call.read() == message * 2
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK


async def test_what_is_written_before_it_is_read_arrives_in_order(serve):
    served = await serve(Both=bidirectional(back_and_forth))
    sent = [b"%d" % number * 50 for number in range(2000)]

    async def requests():
        for message in sent:
            yield message

    async with served.channel() as channel:
        call = channel.stream_stream("/t.T/Both")(requests(), timeout=20)
        assert [each async for each in call] == [message * 2 for message in sent]


async def test_a_failure_carries_its_status_and_text(serve):
    served = await serve(Say=unary(failing), Refuse=bidirectional(refusing))
    async with served.channel() as channel:
        await fails(channel.unary_unary("/t.T/Say")(b"", timeout=10), Status.PERMISSION_DENIED, "100% nö\n€")
        call = channel.stream_stream("/t.T/Refuse")(timeout=10)
        assert await call.code() == grpc.StatusCode.UNAUTHENTICATED
        assert await call.details() == "who are you"


async def test_a_failure_may_follow_messages(serve):
    served = await serve(Down=server_streaming(half))
    async with served.channel() as channel:
        call = channel.unary_stream("/t.T/Down")(b"", timeout=10)
        assert await call.read() == b"half"
        await fails(call.read(), Status.DATA_LOSS, "the rest is gone")


def plainly_failing(request, call):
    raise CallFailed(Status.NOT_FOUND, "nobody")


def plainly_broken(request, call):
    raise ValueError("secret")


async def test_a_handler_that_raises_tells_nothing_but_the_log(serve, caplog):
    served = await serve(Say=unary(broken), Plain=plain(plainly_broken), No=plain(plainly_failing))
    async with served.channel() as channel:
        for name in ("Say", "Plain"):
            caplog.clear()
            await fails(channel.unary_unary(f"/t.T/{name}")(b"", timeout=10), Status.INTERNAL, "internal error")
            assert "secret" in caplog.text
        await fails(channel.unary_unary("/t.T/No")(b"", timeout=10), Status.NOT_FOUND, "nobody")


async def test_an_unknown_method_is_said(serve):
    served = await serve(Say=unary(echo))
    async with served.channel() as channel:
        call = channel.unary_unary("/t.T/Sing")(b"x" * 100_000, timeout=10)
        await fails(call, Status.UNIMPLEMENTED, "there is no method /t.T/Sing")
        assert await channel.unary_unary("/t.T/Say")(b"x", timeout=10) == b"x"


async def test_requests_of_no_message_or_two_are_refused(serve):
    served = await serve(Say=unary(echo))
    async with served.channel() as channel:
        for sent in ([], [b"a", b"b"]):
            await fails(channel.stream_unary("/t.T/Say")(iter(sent), timeout=10), Status.INTERNAL)


async def test_messages_too_long_or_compressed_are_refused(serve):
    served = await serve(Say=unary(echo), Both=bidirectional(back_and_forth))
    async with served.channel() as channel:
        long = b"x" * (messages.LONGEST + 1)
        await fails(channel.unary_unary("/t.T/Say")(long, timeout=10), Status.RESOURCE_EXHAUSTED)
        call = channel.stream_stream("/t.T/Both")(iter([long]), timeout=10)
        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        compressed = channel.unary_unary("/t.T/Say")(bytes(1000), timeout=10, compression=grpc.Compression.Gzip)
        await fails(compressed, Status.UNIMPLEMENTED)


async def test_metadata_goes_both_ways(serve):
    async def telling(call):
        call.begin(("x-told", call.metadata("x-asked")), ("x-none", call.metadata("x-missing")))
        await call.write(b"after")

    served = await serve(Both=bidirectional(telling))
    async with served.channel() as channel:
        call = channel.stream_stream("/t.T/Both")(timeout=10, metadata=(("x-asked", "this"),))
        assert dict(await call.initial_metadata())["x-told"] == "this"
        assert dict(await call.initial_metadata())["x-none"] == ""
        assert await call.read() == b"after"


@pytest.mark.parametrize("content", [b"application/json", b"", b"text/html; application/grpc"])
async def test_what_is_no_grpc_gets_415(serve, content):
    served = await serve(Say=unary(echo))
    client = await served.raw()
    client.say(client.call(1, b"Say", b"x", content=content))
    assert await client.hear(frames.HEADERS) == messages.NO_GRPC
    client.say(client.call(3, b"Say", b"x"))
    assert await client.hear(frames.DATA) == messages.framed(b"x")
    assert len(served.rpc.callers.new) == 1, "a free call shows nobody who calls"
