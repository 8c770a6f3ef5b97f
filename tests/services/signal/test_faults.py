"""Agents that write and do not read, or come as many: what the service holds for them is bounded."""

import random

import anyio
import grpc
import pytest
from prometheus_client import CollectorRegistry

from meshloom.model.keys import PrivateKey
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom_signal import service
from meshloom_signal.service import LONGEST, QUEUE, QUEUE_BYTES, SignalService

pytestmark = pytest.mark.anyio
A, B = (PrivateKey.of(bytes([number]) * 32).public.text for number in (1, 2))


async def test_what_waits_for_a_reader_is_bounded_in_bytes_too(signal, stream):
    stub, service = signal
    call = await stream(stub, B)
    for number in range(2 * QUEUE):
        await stub.Send(pb.EncryptedMessage(key=A, remoteKey=B, body=number.to_bytes(2) + bytes(LONGEST - 200)))
        assert service._readers[B].size <= QUEUE_BYTES
        assert service._readers[B].size == sum(map(len, service._readers[B].waiting))
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
            assert await call.read() is grpc.aio.EOF


async def test_a_stream_that_is_broken_off_is_forgotten(signal, stream):
    stub, service = signal
    call = await stream(stub, B)
    call.cancel()
    with anyio.fail_after(5):
        while service._readers:
            await anyio.sleep(0.005)


class Call:
    """A stream on which something happens while a message is written."""

    def __init__(self, then):
        self._then = then

    def metadata(self, _name):
        return B

    def begin(self, *_metadata):
        pass

    def offer(self, _message):
        self._then()
        return True


async def test_a_stream_that_ends_while_its_last_message_is_written_ends():
    service = SignalService(CollectorRegistry())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.connect_stream, Call(service.stop))
        await anyio.wait_all_tasks_blocked()
        service._readers[B].add(b"the last one")
        with anyio.fail_after(5):
            while service._readers:
                await anyio.sleep(0.005)


class Deaf(Call):
    """A stream that takes nothing."""

    def __init__(self, key):
        super().__init__(None)
        self._key = key

    def metadata(self, _name):
        return self._key

    def offer(self, _message):
        return False

    async def written(self):
        await anyio.sleep_forever()


async def test_what_waits_for_all_readers_is_bounded_too(monkeypatch):
    monkeypatch.setattr(service, "KEPT", 10_000)
    signal = SignalService(CollectorRegistry())
    async with anyio.create_task_group() as tasks:
        for key in (A, B):
            tasks.start_soon(signal.connect_stream, Deaf(key))
        await anyio.wait_all_tasks_blocked()
        for number in range(20):
            message = pb.EncryptedMessage(key=A, remoteKey=(A, B)[number % 2], body=bytes(1000))
            signal.send(message.SerializeToString(), None)
            assert 0 < signal._kept.size <= 10_000
        assert signal._kept.size == sum(reader.size for reader in signal._readers.values())
        before = signal._kept.size
        tasks.start_soon(signal.connect_stream, Deaf(B))
        await anyio.wait_all_tasks_blocked()
        assert signal._kept.size == before, "what waits goes over to the newer stream"
        tasks.cancel_scope.cancel()
    assert signal._kept.size == 0


async def test_rubbish_is_refused_and_hurts_nobody(signal, tmp_path, stream):
    stub, _ = signal
    noise, codes = random.Random(7), set()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/grpc") as channel:
        raw = channel.unary_unary("/signalexchange.SignalExchange/Send")
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
