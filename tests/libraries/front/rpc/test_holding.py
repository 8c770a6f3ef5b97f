"""What connections and services hold counts in one budget, and is freed at once where it has to be."""

import asyncio

import anyio
import pytest

from meshloom_front.http2 import frames
from meshloom_front.rpc import messages
from meshloom_front.rpc.call import bidirectional, server_streaming, unary

pytestmark = pytest.mark.anyio


async def echo(request, call):
    return request


async def prove(request, call):
    call.prove()
    return request


class Holder:
    """Services that keep something for their callers."""

    def __init__(self):
        self.calls = []

    async def __call__(self, call):
        self.calls.append(call)
        call.begin()
        await asyncio.Event().wait()


async def test_what_a_service_keeps_counts_until_the_call_ends(serve, eventually):
    holder = Holder()
    served = await serve(Both=bidirectional(holder))
    pool = served.rpc.callers.budget.strangers
    client = await served.raw()
    client.say(client.call(1, b"Both", ended=False))
    await eventually(lambda: holder.calls)
    before = pool.size
    holder.calls[0].holds(100_000)
    assert pool.size == before + 100_000
    holder.calls[0].holds(40_000)
    assert pool.size == before + 40_000
    client.say(client.frame(frames.RST_STREAM, 0, 1, bytes(4)))
    await eventually(lambda: pool.size < 40_000)
    holder.calls[0].holds(1 << 20)
    assert pool.size < 40_000, "an ended call holds nothing"


async def test_who_makes_a_service_keep_the_most_is_ended_first(serve, eventually):
    holder = Holder()
    served = await serve(Both=bidirectional(holder))
    pool = served.rpc.callers.budget.strangers
    pool.limit = 1 << 20
    small, large = await served.raw(), await served.raw()
    for number, client in enumerate((small, large), 1):
        client.say(client.call(1, b"Both", ended=False))
        await eventually(lambda number=number: len(holder.calls) == number)
    holder.calls[0].holds(300_000)
    holder.calls[1].holds(500_000)
    assert len(served.rpc) == 2
    holder.calls[0].holds(400_000)
    holder.calls[0].holds(600_000)
    await small.ends()
    await eventually(lambda: len(served.rpc) == 1)
    assert pool.size < 600_000
    holder.calls[1].holds(700_000)
    assert len(served.rpc) == 1


async def test_who_is_known_counts_in_the_other_pool(serve, eventually):
    holder = Holder()
    served = await serve(Both=bidirectional(holder), Prove=unary(prove))
    budget = served.rpc.callers.budget
    client = await served.raw()
    client.say(client.call(1, b"Both", ended=False), client.call(3, b"Prove", b""))
    await client.hear(frames.DATA, 3)
    assert (budget.strangers.size, budget.known.size > 0) == (0, True)
    holder.calls[0].holds(budget.strangers.limit + 1)
    assert len(served.rpc) == 1


async def test_answers_that_nobody_reads_count(serve, eventually):
    async def large(request, call):
        await call.write(bytes(1_000_000))

    served = await serve(Down=server_streaming(large))
    pool = served.rpc.callers.budget.strangers
    pool.limit = 5 << 20
    clients = [await served.raw(INITIAL_WINDOW_SIZE=0) for _ in range(4)]
    for client in clients:
        client.say(*(client.call(stream, b"Down", b"") for stream in (1, 3)))
    await eventually(lambda: len(served.rpc) < 4)
    assert pool.size <= pool.limit
    await eventually(lambda: len(served.rpc.tasks) == 2 * len(served.rpc))


async def test_halves_of_messages_at_many_connections_count(serve, eventually):
    served = await serve(Say=unary(echo))
    pool = served.rpc.callers.budget.strangers
    pool.limit = 1 << 20
    head = messages.framed(bytes(messages.LONGEST))[: messages.HEAD]
    clients = [await served.raw() for _ in range(30)]
    for client in clients:
        client.say(client.call(1, b"Say", ended=False), client.frame(frames.DATA, 0, 1, head + bytes(16_000)))
        client.say(client.frame(frames.DATA, 0, 1, bytes(16_000)) * 3)
    await eventually(lambda: len(served.rpc) < 30)
    assert pool.size <= pool.limit


async def test_a_call_that_is_reset_frees_what_waits_and_its_writer_goes_on(serve, eventually):
    gone_on = asyncio.Event()
    calls = []

    async def large(request, call):
        calls.append(call)
        await call.write(bytes(1_000_000))
        gone_on.set()

    served = await serve(Down=server_streaming(large), Say=unary(echo))
    client = await served.raw(INITIAL_WINDOW_SIZE=1000)
    client.say(client.call(1, b"Down", b""))
    await eventually(lambda: calls and served.rpc.callers.budget.strangers.size > 1_000_000)
    calls[0].reset()
    assert served.rpc.callers.budget.strangers.size < 50_000
    assert await client.hear(frames.RST_STREAM, 1) == b"\0\0\0\x08"
    with anyio.fail_after(5):
        await gone_on.wait()
    client.say(client.call(3, b"Say", b"x"))
    assert await client.hear(frames.DATA, 3) == messages.framed(b"x")


async def test_a_writer_that_is_cancelled_may_reset_its_call(serve, eventually):
    ended = asyncio.Event()

    async def replaced(request, call):
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await call.write(bytes(1_000_000))
        call.reset()
        ended.set()

    scopes = []
    served = await serve(Down=server_streaming(replaced))
    client = await served.raw(INITIAL_WINDOW_SIZE=0)
    client.say(client.call(1, b"Down", b""))
    await eventually(lambda: scopes and served.rpc.callers.budget.strangers.size > 1_000_000)
    scopes[0].cancel()
    with anyio.fail_after(5):
        await ended.wait()
    assert served.rpc.callers.budget.strangers.size < 50_000
    assert await client.hear(frames.RST_STREAM, 1) == b"\0\0\0\x08"
