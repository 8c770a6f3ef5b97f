"""Whether the other side of a call's connection still answers."""

import anyio
import pytest

from meshloom_front.http2 import frames
from meshloom_front.rpc.call import bidirectional, unary

pytestmark = pytest.mark.anyio


class Held:
    """A stream that stays open, and its call."""

    def __init__(self):
        self.call = None

    async def __call__(self, call):
        self.call = call
        async for _ in call.requests():
            pass


async def opened(serve, eventually):
    held = Held()
    served = await serve(Stream=bidirectional(held))
    client = await served.raw()
    client.say(client.call(1, b"Stream", ended=False))
    await eventually(lambda: held.call is not None)
    return held.call, client, served


async def test_a_client_that_answers_is_alive(serve, eventually):
    held = Held()
    served = await serve(Stream=bidirectional(held))
    async with served.channel() as channel:
        stream = channel.stream_stream("/t.T/Stream")()
        await stream.write(b"")
        await eventually(lambda: held.call is not None)
        with anyio.fail_after(5):
            assert await held.call.is_alive(60)
            assert await held.call.is_alive(60), "asked again"
        stream.cancel()


async def test_a_client_that_is_silent_is_not(serve, eventually):
    call, client, _ = await opened(serve, eventually)
    assert not await call.is_alive(0.01)
    await client.hear(frames.PING)


async def test_askers_of_one_time_share_one_ping(serve, eventually):
    call, client, _ = await opened(serve, eventually)
    answers = []

    async def ask():
        answers.append(await call.is_alive(60))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
        ping = await client.hear(frames.PING)
        client.say(client.frame(frames.PING, frames.ACK, 0, ping))
    assert answers == [True] * 20
    assert client.reader._buffer == b"", "no other came"


async def test_a_connection_that_ends_while_it_is_asked_is_not_alive(serve, eventually):
    call, client, _ = await opened(serve, eventually)
    async with anyio.create_task_group() as tasks:

        async def ask():
            assert not await call.is_alive(60)
            tasks.cancel_scope.cancel()

        tasks.start_soon(ask)
        await client.hear(frames.PING)
        client.writer.transport.abort()
    assert not await call.is_alive(60)


async def test_calls_of_one_connection_have_it_in_common(serve):
    seen = []

    async def handler(request, call):
        seen.append(call.connection)
        return request

    served = await serve(Call=unary(handler))
    for _ in range(2):
        async with served.channel() as channel:
            for _ in range(2):
                await channel.unary_unary("/t.T/Call")(b"")
    assert seen[0] == seen[1] != seen[2] == seen[3]
