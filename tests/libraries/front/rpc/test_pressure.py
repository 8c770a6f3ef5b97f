"""Who does not read, sends too much or too little at a time: what is kept is bounded, and others go on."""

import asyncio
import itertools

import pytest

from meshloom_front import callers, incoming
from meshloom_front.http2 import frames
from meshloom_front.http2.sending import AT_ONCE
from meshloom_front.rpc import calls, connection, messages
from meshloom_front.rpc.call import UNREAD, bidirectional, plain, server_streaming, unary
from meshloom_front.rpc.status import Status

pytestmark = pytest.mark.anyio


async def echo(request, call):
    return request


async def proving(request, call):
    call.prove()
    return request


async def silent(call):
    await asyncio.Event().wait()


def only_connection(served):
    (connection,) = served.rpc.connections
    return connection


async def failure(client, stream):
    """The status in the fields that end a call."""
    while b"grpc-status" not in (block := await client.hear(frames.HEADERS, stream)):
        pass
    at = block.index(b"grpc-status") + len(b"grpc-status")
    return int(block[at + 1 : at + 1 + block[at]])


async def another_is_served(served):
    """The server has had the time to do what it does."""
    other = await served.raw()
    for stream in range(1, 21, 2):
        other.say(other.call(stream, b"Say", b"x"))
        await other.hear(frames.DATA, stream)
    other.writer.transport.abort()


async def test_a_writer_waits_for_a_stream_that_nobody_reads_and_another_goes_on(serve, eventually):
    written = []

    async def pouring(request, call):
        for number in range(1000):
            await call.write(bytes(10_000))
            written.append(number)

    served = await serve(Down=server_streaming(pouring), Say=unary(echo))
    client = await served.raw(INITIAL_WINDOW_SIZE=25_000)
    client.say(client.frame(frames.WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4, "big")), client.call(1, b"Down", b""))
    await eventually(lambda: len(written) == 2)
    for stream in range(3, 23, 2):
        client.say(client.call(stream, b"Say", b"x"))
        assert await client.hear(frames.DATA, stream) == messages.framed(b"x")
    assert len(written) == 2
    client.say(client.frame(frames.WINDOW_UPDATE, 0, 1, (20_000).to_bytes(4, "big")))
    await eventually(lambda: len(written) == 4)


async def test_a_writer_waits_for_a_network_that_takes_no_more(serve, eventually):
    written = []

    async def pouring(request, call):
        call.prove()
        while True:
            await call.write(bytes(100_000))
            written.append(call.number)

    served = await serve(Down=server_streaming(pouring), Say=unary(echo))
    client = await served.raw(INITIAL_WINDOW_SIZE=frames.MOST)
    client.writer.transport.pause_reading()
    client.say(client.frame(frames.WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))
    client.say(*(client.call(stream, b"Down", b"") for stream in (1, 3, 5)))
    await eventually(lambda: len(served.rpc.tasks) == 3 and only_connection(served)._paused)
    paused = only_connection(served)
    kept = paused._transport.get_write_buffer_size()
    assert kept <= 4 * AT_ONCE + 100_000
    before = len(written)
    client.say(client.frame(frames.PING, 0, 0, bytes(8)))
    await eventually(lambda: paused._transport.get_write_buffer_size() > kept)
    assert len(written) == before
    client.writer.transport.resume_reading()
    await client.hear(frames.PING)
    for stream in (1, 3, 5):
        await client.hear(frames.DATA, stream)


@pytest.mark.parametrize("question", ["ping", "settings", "request"])
async def test_who_makes_us_answer_and_does_not_read_is_not_read_either(serve, eventually, question):
    served = await serve(Say=unary(echo), Prove=unary(proving))
    client = await served.raw()
    client.say(client.call(1, b"Prove", b""))
    await client.hear(frames.DATA)
    paused = only_connection(served)
    client.writer.transport.pause_reading()
    streams = itertools.count(3, 2)
    for _ in range(10_000):
        client.say(*(client.call(next(streams), b"None", b"") for _ in range(50)))
        await asyncio.sleep(0)
        if paused._paused:
            break
    assert paused._paused
    questions = {
        "ping": lambda: client.frame(frames.PING, 0, 0, bytes(8)),
        "settings": lambda: frames.settings({}),
        "request": lambda: client.call(next(streams), b"None", b""),
    }
    client.say(*(questions[question]() for _ in range(100_000)))
    await eventually(lambda: paused._incoming.reading._held or paused._transport.is_closing())
    kept = paused._transport.get_write_buffer_size()
    assert kept < connection.UNSENT
    if paused._transport.is_closing():
        return  # it asked for more at once than it may
    await another_is_served(served)
    assert paused._transport.get_write_buffer_size() == kept
    assert client.writer.transport.get_write_buffer_size() > 100_000, "its questions wait at its own side"


async def test_who_makes_us_answer_more_at_once_than_may_wait_is_ended(serve, eventually, monkeypatch):
    monkeypatch.setattr(connection, "UNSENT", 100_000)
    served = await serve(Prove=unary(proving))
    client = await served.raw()
    client.say(client.call(1, b"Prove", b""))
    await client.hear(frames.DATA)
    client.writer.transport.pause_reading()
    client.say(*(client.call(stream, b"None", b"") for stream in range(3, 40_001, 2)))
    await eventually(lambda: not len(served.rpc))
    client.writer.transport.resume_reading()
    await client.ends()


async def test_a_sender_waits_for_a_handler_that_does_not_read(serve, eventually):
    served = await serve(Both=bidirectional(silent))
    async with served.channel() as channel:
        call = channel.stream_stream("/t.T/Both")()
        sending = asyncio.create_task(pour(call))
        await eventually(lambda: served.rpc.tasks and only_connection(served).calls.held > UNREAD)
        held = only_connection(served).calls.held
        assert held <= 2 * (UNREAD + frames.WINDOW)
        call.cancel()
        await eventually(lambda: only_connection(served).calls.held == 0)
        sending.cancel()


async def pour(call):
    while True:
        await call.write(bytes(1000))


async def test_messages_of_nothing_that_nobody_reads_are_not_allowed_for_ever(serve):
    served = await serve(Both=bidirectional(silent))
    client = await served.raw()
    client.say(client.call(1, b"Both", ended=False))
    body = messages.framed(b"") * 1000
    sent = 0
    while sent + len(body) <= frames.WINDOW:
        client.say(client.frame(frames.DATA, 0, 1, body))
        sent += len(body)
    ping = client.frame(frames.PING, 0, 0, bytes(8))
    client.say(ping)
    await client.hear(frames.PING)  # what is said to the calls comes after the answers of the connection
    client.say(ping)
    allowed, head = 0, bytes(frames.HEAD)
    while head[3] != frames.PING:
        head = await client.reader.readexactly(frames.HEAD)
        payload = await client.reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == frames.WINDOW_UPDATE and head[8] == 1:
            allowed += int.from_bytes(payload, "big")
    assert allowed <= frames.LONGEST, "no more than fit into what may be left unread"


@pytest.mark.parametrize("method", [b"Say", b"Both"])
async def test_halves_of_messages_on_many_streams_are_too_much_at_some_time(serve, monkeypatch, method):
    monkeypatch.setattr(calls, "HELD", 300_000)
    served = await serve(Say=unary(echo), Both=bidirectional(silent), Plain=plain(lambda request, call: request))
    client = await served.raw()
    head = messages.framed(bytes(messages.LONGEST))[: messages.HEAD]
    streams = range(1, 13, 2)
    for stream in streams:
        client.say(client.call(stream, method, ended=False), client.frame(frames.DATA, 0, stream, head + bytes(10_000)))
    for _ in range(5):
        for stream in streams:
            client.say(client.frame(frames.DATA, 0, stream, bytes(10_000)))
    assert await failure(client, streams[-1]) == Status.RESOURCE_EXHAUSTED
    assert only_connection(served).calls.held <= 300_000
    client.say(client.call(21, b"Plain", b"x"))
    assert await client.hear(frames.DATA, 21) == messages.framed(b"x"), "what comes at once is taken"


async def test_only_what_is_kept_counts(serve, eventually):
    """Neither requests whose handlers run nor messages that were read: such calls may go on for days."""

    async def reading(call):
        async for message in call.requests():
            await call.write(message)

    async def waiting(request, call):
        call.begin()
        call.stay()
        await asyncio.Event().wait()

    served = await serve(Down=server_streaming(waiting), Both=bidirectional(reading))
    client = await served.raw()
    body = messages.framed(bytes(10_000))
    client.say(client.call(1, b"Down", ended=False), client.frame(frames.DATA, 0, 1, body[:5000]))
    await eventually(lambda: served.rpc.connections and only_connection(served).calls.held >= 5000)
    client.say(client.frame(frames.DATA, frames.END_STREAM, 1, body[5000:]))
    client.say(client.call(3, b"Both", bytes(10_000), ended=False), client.frame(frames.DATA, 0, 3, body[:5000]))
    await client.hear(frames.HEADERS, 1)
    await client.hear(frames.DATA, 3)
    await eventually(lambda: only_connection(served).calls.held == 5000)
    client.say(client.frame(frames.DATA, 0, 3, body[5000:]))
    await client.hear(frames.DATA, 3)
    await eventually(lambda: only_connection(served).calls.held == 0)


async def test_one_connection_does_not_hold_up_another(serve, eventually):
    async def pouring(request, call):
        while True:
            await call.write(bytes(100_000))

    served = await serve(Down=server_streaming(pouring), Say=unary(echo))
    slow = await served.raw()
    slow.say(slow.call(1, b"Down", b""))
    await eventually(lambda: served.rpc.tasks)
    async with served.channel() as channel:
        assert await channel.unary_unary("/t.T/Say")(b"x", timeout=10) == b"x"


async def test_what_an_unknown_caller_sends_is_looked_at_piece_by_piece(serve, eventually, monkeypatch):
    """However much comes at once, it is known what it costs before more is done, and nothing of it is lost."""
    monkeypatch.setattr(incoming, "AT_A_TIME", 100)
    monkeypatch.setattr(callers, "BURST", 0.0)
    monkeypatch.setattr(callers, "SHARE", 1.0)
    order = []

    async def proving(request, call):
        order.append(request)
        call.prove()
        return request

    def free(request, call):
        order.append(request)
        return request

    served = await serve(Free=plain(free), Prove=unary(proving))
    client = await served.raw()
    said = [client.call(stream, b"Prove" if stream == 41 else b"Free", b"%d" % stream) for stream in range(1, 81, 2)]
    client.say(*said)
    for _ in said:
        await client.hear(frames.DATA)
    assert sorted(order, key=int) == [b"%d" % stream for stream in range(1, 81, 2)]
    assert [each for each in order if each != b"41"] == [b"%d" % stream for stream in range(1, 81, 2) if stream != 41]
    assert only_connection(served)._incoming._later == b""
