"""How calls and connections end: taken back, lost, stopped, late, silent or given way."""

import asyncio
import gc

import anyio
import grpc
import pytest

from meshloom_front import callers
from meshloom_front.http2 import frames
from meshloom_front.http2.connection import STREAMS
from meshloom_front.rpc import calls, connection, messages
from meshloom_front.rpc.call import bidirectional, server_streaming, unary
from meshloom_front.rpc.status import CallFailed, Status

pytestmark = pytest.mark.anyio


class Waiting:
    """A handler of any kind that waits for ever, or until told; what became of its calls."""

    def __init__(self):
        self.begun, self.cancelled, self.go_on = 0, 0, asyncio.Event()

    async def __call__(self, *_):
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b"done"


async def echo(request, call):
    return request


async def code(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_call_taken_back_cancels_its_handler(serve, eventually):
    waiting = Waiting()
    served = await serve(Say=unary(waiting), Down=server_streaming(waiting), Both=bidirectional(waiting))
    async with served.channel() as channel:
        callers = (
            lambda: channel.unary_unary("/t.T/Say")(b""),
            lambda: channel.unary_stream("/t.T/Down")(b""),
            channel.stream_stream("/t.T/Both"),
        )
        for number, begin in enumerate(callers, 1):
            call = begin()
            await eventually(lambda number=number: waiting.begun == number)
            call.cancel()
            await eventually(lambda number=number: waiting.cancelled == number)
    assert not served.rpc.tasks


async def test_a_call_taken_back_at_once_never_begins(serve, recwarn):
    waiting = Waiting()
    served = await serve(Both=bidirectional(waiting), Say=unary(echo))
    client = await served.raw()
    client.say(
        client.call(1, b"Both"), client.frame(frames.RST_STREAM, 0, 1, b"\0\0\0\x08"), client.call(3, b"Say", b"")
    )
    await client.hear(frames.DATA, 3)
    assert (waiting.begun, len(served.rpc.tasks)) == (0, 0)
    gc.collect()
    assert list(recwarn) == [], "no coroutine was made for nothing"


async def test_a_breach_on_a_stream_cancels_its_handler_only(serve, eventually):
    waiting = Waiting()
    served = await serve(Say=unary(waiting))
    client = await served.raw()
    client.say(client.call(1, b"Say", b""), client.call(3, b"Say", b""))
    await eventually(lambda: waiting.begun == 2)
    client.say(client.frame(frames.WINDOW_UPDATE, 0, 1, bytes(4)))
    await eventually(lambda: waiting.cancelled == 1)
    assert await client.hear(frames.RST_STREAM, 1) == b"\0\0\0\1"
    waiting.go_on.set()
    assert await client.hear(frames.DATA, 3) == messages.framed(b"done")


async def test_a_breach_ends_the_connection_with_its_reason(serve, eventually):
    waiting = Waiting()
    served = await serve(Say=unary(waiting))
    client = await served.raw()
    client.say(client.call(1, b"Say", b""))
    await eventually(lambda: waiting.begun == 1)
    client.say(client.frame(frames.PING, 0, 1, bytes(8)))
    assert (await client.hear(frames.GOAWAY))[4:8] == b"\0\0\0\1"
    await client.ends()
    await eventually(lambda: waiting.cancelled == 1)


async def test_a_lost_connection_cancels_its_calls(serve, eventually):
    waiting = Waiting()
    served = await serve(Say=unary(waiting), Both=bidirectional(waiting))
    client = await served.raw()
    late = client.call(5, b"Say", ended=False)
    client.say(client.call(1, b"Say", b""), client.call(3, b"Both", ended=False), late)
    await eventually(lambda: waiting.begun == 2)
    (connection,) = served.rpc.connections
    client.writer.transport.abort()
    await eventually(lambda: waiting.cancelled == 2 and not served.rpc.tasks and not len(served.rpc))
    assert connection._alive.cancelled()
    assert connection._proof.cancelled()
    assert connection.calls._late.cancelled()
    assert (connection.calls.held, connection.calls.weight, len(connection.calls)) == (0, 0, 0)


async def test_stopping_waits_for_calls_that_end_by_themselves(serve, eventually):
    waiting = Waiting()
    served = await serve(Say=unary(waiting))
    client = await served.raw()
    client.say(client.call(1, b"Say", b""))
    await eventually(lambda: waiting.begun == 1)
    stopping = asyncio.create_task(served.rpc.stop(grace=5))
    assert (await client.hear(frames.GOAWAY))[:8] == b"\0\0\0\1" + bytes(4)
    client.say(client.call(3, b"Say", b"on its way"))
    assert await client.hear(frames.RST_STREAM, 3) == b"\0\0\0\x07"
    waiting.go_on.set()
    assert await client.hear(frames.DATA, 1) == messages.framed(b"done")
    await stopping
    await client.ends()


async def test_stopping_ends_other_calls_as_unavailable(serve, eventually):
    waiting = Waiting()
    served = await serve(Say=unary(waiting), Both=bidirectional(waiting))
    async with served.channel() as channel:
        calls = [channel.unary_unary("/t.T/Say")(b""), channel.stream_stream("/t.T/Both")()]
        await eventually(lambda: waiting.begun == 2)
        await served.rpc.stop(grace=0.05)
        assert await code(calls[0]) == grpc.StatusCode.UNAVAILABLE
        assert await calls[1].code() == grpc.StatusCode.UNAVAILABLE
        assert await calls[1].details() == "the server is stopping: connect again"
    assert waiting.cancelled == 2


async def test_a_request_that_does_not_come_in_whole_is_ended(serve, eventually, monkeypatch):
    monkeypatch.setattr(calls, "REQUEST_WITHIN", 0.05)
    waiting = Waiting()

    async def accepted(call):
        call.stay()
        await waiting()

    served = await serve(Say=unary(echo), Both=bidirectional(accepted))
    async with served.channel() as channel:
        both = channel.stream_stream("/t.T/Both")()
        call = channel.stream_unary("/t.T/Say")()
        await call.write(b"x")
        assert await code(call) == grpc.StatusCode.DEADLINE_EXCEEDED
        assert await channel.unary_unary("/t.T/Say")(b"x", timeout=10) == b"x"
        (connection,) = served.rpc.connections
        await eventually(lambda: connection.calls._late is None)
        assert (waiting.begun, waiting.cancelled) == (1, 0), "a stream may take its time"
        both.cancel()


async def test_a_stream_on_which_nothing_comes_that_its_service_accepts_is_ended(serve, eventually, monkeypatch):
    monkeypatch.setattr(calls, "STREAM_WITHIN", 0.05)
    waiting = Waiting()

    async def reading(call):
        async for _ in call.requests():
            pass

    async def proving(call):
        call.prove()
        await waiting()

    served = await serve(Both=bidirectional(reading), Proving=bidirectional(proving))
    async with served.channel() as channel:
        ended = channel.stream_stream("/t.T/Both")()
        assert await ended.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert await ended.details() == "nothing came that shows who calls"
        known = channel.stream_stream("/t.T/Proving")()
        (connection,) = served.rpc.connections
        await eventually(lambda: connection.is_known and connection.calls._late is None)
        assert (waiting.begun, waiting.cancelled) == (1, 0), "whoever is known may take his time"
        known.cancel()


async def test_a_connection_whose_caller_does_not_show_who_it_is_ends(serve, eventually, monkeypatch):
    monkeypatch.setattr(callers, "PROOF_WITHIN", 0.1)

    async def accepting(call):
        call.stay()
        async for _ in call.requests():
            pass

    async def proving(request, call):
        call.prove()
        return request

    served = await serve(Say=unary(echo), Prove=unary(proving), Both=bidirectional(accepting))
    idle, free, known, streaming = [await served.raw() for _ in range(4)]
    free.say(free.call(1, b"Say", b"x"))
    known.say(known.call(1, b"Prove", b"x"))
    streaming.say(streaming.call(1, b"Both", ended=False))
    for client in (idle, free):
        assert (await client.hear(frames.GOAWAY))[4:8] == bytes(4), "told, not cut off"
        await client.ends()
    await eventually(lambda: len(served.rpc) == 2)
    known.say(known.call(3, b"Say", b"x"))
    await known.hear(frames.DATA, 3)
    streaming.say(streaming.call(3, b"Say", b"x"))
    await streaming.hear(frames.DATA, 3)
    streaming.say(streaming.frame(frames.RST_STREAM, 0, 1, bytes(4)))
    await streaming.hear(frames.GOAWAY)
    await streaming.ends()


async def test_streams_that_strangers_may_have_are_few_and_those_of_known_callers_many(serve, eventually):
    async def proving(request, call):
        call.prove()
        return request

    served = await serve(Prove=unary(proving), Both=bidirectional(Waiting()))
    client = await served.raw()
    setting = (await client.hear(frames.SETTINGS))[:6]
    assert setting == frames.settings({frames.MAX_CONCURRENT_STREAMS: connection.STREAMS_OF_STRANGERS})[frames.HEAD :]
    streams = range(1, 2 * connection.STREAMS_OF_STRANGERS + 1, 2)
    client.say(*(client.call(stream, b"Both", ended=False) for stream in streams))
    client.say(client.call(1001, b"Prove", b""))
    assert await client.hear(frames.RST_STREAM, 1001) == b"\0\0\0\x07"
    client.say(client.frame(frames.RST_STREAM, 0, 1, bytes(4)), client.call(1003, b"Prove", b""))
    setting = await client.hear(frames.SETTINGS)
    while not setting:  # it acknowledges ours
        setting = await client.hear(frames.SETTINGS)
    assert setting == frames.settings({frames.MAX_CONCURRENT_STREAMS: STREAMS})[frames.HEAD :]


async def test_who_is_silent_is_asked_and_ended_where_nothing_comes(serve, eventually, monkeypatch):
    monkeypatch.setattr(connection, "KEEPALIVE", 0.05)
    monkeypatch.setattr(connection, "ANSWERS_WITHIN", 0.05)
    waiting = Waiting()
    served = await serve(Say=unary(waiting))
    client = await served.raw()
    client.say(client.call(1, b"Say", b""))
    for _ in range(3):
        assert await client.hear(frames.PING) == bytes(8)
        client.say(client.frame(frames.PING, frames.ACK, 0, bytes(8)))
    assert waiting.cancelled == 0
    await client.ends()
    await eventually(lambda: waiting.cancelled == 1)


async def test_a_client_of_grpc_answers_when_it_is_asked(serve, eventually, monkeypatch):
    monkeypatch.setattr(connection, "KEEPALIVE", 0.02)
    asked = []
    monkeypatch.setattr(connection.Connection, "_look_again", again(asked, connection.Connection._look_again))
    waiting = Waiting()
    served = await serve(Say=unary(waiting))
    async with served.channel() as channel:
        monkeypatch.setattr(connection, "ANSWERS_WITHIN", 0.2)
        call = channel.unary_unary("/t.T/Say")(b"")
        await eventually(lambda: len(asked) >= 2)
        waiting.go_on.set()
        assert await call == b"done"


def again(asked, look_again):
    def asking(connection):
        asked.append(connection)
        look_again(connection)

    return asking


async def test_the_oldest_connection_without_a_proof_gives_way(serve, eventually):
    async def proving(request, call):
        call.prove()
        return request

    served = await serve(Say=unary(echo), Prove=unary(proving))
    full = served.rpc.callers.make_room
    assert not full("", 3, 3)
    clients = []
    for number in range(3):
        clients.append(await served.raw())
        await eventually(lambda number=number: len(served.rpc) == number + 1)
    clients[0].say(clients[0].call(1, b"Prove", b""))
    clients[1].say(clients[1].call(1, b"Say", b""))
    for client in clients[:2]:
        await client.hear(frames.DATA)
    assert full("", 3, 3)
    await clients[1].ends()
    await eventually(lambda: len(served.rpc) == 2)
    assert full("", 3, 3)
    assert not full("", 3, 3), "who is known stays"
    clients[0].say(clients[0].call(3, b"Say", b"x"))
    assert await clients[0].hear(frames.DATA, 3) == messages.framed(b"x")


async def test_a_handler_may_end_before_the_caller_has_said_all(serve):
    async def first_only(call):
        async for message in call.requests():
            await call.write(message)
            raise CallFailed(Status.OUT_OF_RANGE, "one is enough")

    served = await serve(Both=bidirectional(first_only))
    async with served.channel() as channel:
        call = channel.stream_stream("/t.T/Both")()
        await call.write(b"x")
        assert await call.read() == b"x"
        with anyio.fail_after(5):
            assert await call.code() == grpc.StatusCode.OUT_OF_RANGE
