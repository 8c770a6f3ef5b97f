"""Agents that write and do not read, or come as many: what the service holds for them is bounded."""

import random

import anyio
import grpc
import pytest
from prometheus_client import CollectorRegistry

from meshloom.model.keys import PrivateKey
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom_front.budget import Budget
from meshloom_signal.reader import QUEUE, QUEUE_BYTES
from meshloom_signal.service import LONGEST, PEER, STREAMS, SignalService
from meshloom_signal.standing import Rank

pytestmark = pytest.mark.anyio
A, B = (PrivateKey.of(bytes([number]) * 32).public.text for number in (65, 66))
KEYS = [PrivateKey.of(bytes([number]) * 32).public.text for number in range(100, 100 + 3 * STREAMS)]


async def test_what_waits_for_a_reader_is_bounded_in_bytes_too(signal, stream):
    stub, service = signal
    call = await stream(stub, B)
    for number in range(2 * QUEUE):
        await stub.Send(pb.EncryptedMessage(key=A, remoteKey=B, body=number.to_bytes(2) + bytes(LONGEST - 200)))
        assert service._readers[B].waiting.size <= QUEUE_BYTES
    last = None
    with anyio.fail_after(10):
        while last != 2 * QUEUE - 1:
            last = int.from_bytes((await call.read()).body[:2])


async def test_many_streams_of_one_agent_are_one(signal, stream):
    stub, service = signal
    calls = [await stream(stub, B) for _ in range(100)]
    assert len(service._readers) == 1
    await stub.Send(pb.EncryptedMessage(key=A, remoteKey=B, body=b"x"))
    with anyio.fail_after(5):
        assert (await calls[-1].read()).body == b"x"
        for call in calls[:-1]:
            with pytest.raises(grpc.aio.AioRpcError, match="peer registered again"):
                await call.read()


async def test_a_stream_that_is_broken_off_is_forgotten(signal, stream):
    stub, service = signal
    call = await stream(stub, B)
    call.cancel()
    with anyio.fail_after(5):
        while service._readers:
            await anyio.sleep(0.005)


class Call:
    """A stream on which something happens while a message is written."""

    address, begun, connection = "", True, None

    def __init__(self, then):
        self._then = then
        self.connection = self

    def metadata(self, name):
        return B if name == PEER else ""

    def holds(self, _size):
        pass

    def stay(self):
        pass

    def offer(self, _message):
        self._then()
        return True


async def test_a_stream_that_ends_while_its_last_message_is_written_ends():
    service = SignalService(CollectorRegistry())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.connect_stream, Call(service.stop))
        await anyio.wait_all_tasks_blocked()
        service._readers[B].add(b"the last one", Rank.CLAIMED)
        with anyio.fail_after(5):
            while service._readers:
                await anyio.sleep(0.005)


class TestMessagesThatNobodyReads:
    """Streams of somebody who knows keys and does not read; a proven agent sends to all of them."""

    @pytest.fixture
    def peers(self, registered):
        registered.known |= set(KEYS)
        return registered

    @pytest.fixture
    def budget(self):
        return Budget(standing=4 << 20)

    async def test_count_in_a_budget_of_their_own_and_take_nothing_from_agents(
        self, connect, served, budget, hear, eventually
    ):
        service, _ = served
        agent, sender = await connect(), await connect()
        own = await agent.proven(B)
        await sender.proven(A)
        await eventually(lambda: len(service._readers) == 2)
        for start in range(0, len(KEYS), STREAMS):
            stranger = await connect()
            for key in KEYS[start : start + STREAMS]:
                await stranger.stream(key)
            stranger.cut()
        ended = len(service._readers)
        with anyio.fail_after(60):
            while len(service._readers) == ended:
                for key in KEYS:
                    await sender.send(A, key, bytes(60_000))
                    assert budget.standing.size <= budget.standing.limit
        assert sum(reader.waiting.size for reader in service._readers.values()) <= budget.standing.limit
        await sender.send(A, B, b"still there")
        assert await hear(own) == b"still there"


async def test_rubbish_is_refused_and_hurts_nobody(signal, connect, stream):
    stub, raw = signal[0], (await connect()).raw
    noise, codes = random.Random(7), set()
    for _ in range(300):
        try:
            await raw(noise.randbytes(noise.randrange(100)))
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
    assert codes == {grpc.StatusCode.INVALID_ARGUMENT}
    call = await stream(stub, B)
    await stub.Send(pb.EncryptedMessage(key=A, remoteKey=B, body=b"still there"))
    with anyio.fail_after(5):
        assert (await call.read()).body == b"still there"
