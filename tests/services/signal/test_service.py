"""The signal service as agents see it."""

import anyio
import grpc
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom_signal.reader import QUEUE
from meshloom_signal.service import LONGEST, PEER

pytestmark = pytest.mark.anyio
A, B = (PrivateKey.of(bytes([number]) * 32).public.text for number in (1, 2))


async def read(call):
    with anyio.fail_after(5):
        return await call.read()


def message(sender, recipient, body=b"sealed"):
    return pb.EncryptedMessage(key=sender, remoteKey=recipient, body=body)


async def test_messages_reach_their_recipient_unchanged_and_in_order(signal, stream):
    stub, _ = signal
    to_b = await stream(stub, B)
    for number in range(20):
        await stub.Send(message(A, B, bytes([number])))
    assert [await read(to_b) for _ in range(20)] == [message(A, B, bytes([number])) for number in range(20)]


async def test_a_message_to_oneself_comes_back(signal, stream):
    stub, _ = signal
    to_a = await stream(stub, A)
    await stub.Send(message(A, A))
    assert (await read(to_a)).remoteKey == A


async def test_a_message_for_an_absent_agent_is_dropped_and_counted(signal, registry):
    stub, _ = signal
    await stub.Send(message(A, B))
    assert registry.get_sample_value("meshloom_signal_dropped_total", {"reason": "absent"}) == 1


async def test_a_newer_stream_by_the_same_connection_takes_over(signal, stream):
    stub, _ = signal
    old = await stream(stub, B)
    new = await stream(stub, B)
    with pytest.raises(grpc.aio.AioRpcError, match="peer registered again") as ended:
        await read(old)
    assert ended.value.code() is grpc.StatusCode.ALREADY_EXISTS
    await stub.Send(message(A, B))
    assert (await read(new)).key == A


async def test_a_slow_reader_loses_the_oldest_and_holds_up_nobody(signal, registry, stream):
    _, service = signal
    stub = signal[0]
    await stream(stub, B)
    to_a = await stream(stub, A)
    big = bytes(LONGEST - 200)
    for _ in range(3 * QUEUE):
        await stub.Send(message(A, B, big))
    await stub.Send(message(B, A))
    assert (await read(to_a)).key == B
    assert registry.get_sample_value("meshloom_signal_dropped_total", {"reason": "slow"}) > 0
    assert service is not None


@pytest.mark.parametrize("key", ["", "x", "A" * 44])
async def test_a_stream_without_a_key_is_refused(signal, key):
    stub, _ = signal
    call = stub.ConnectStream(metadata=((PEER, key),))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_too_long_or_no_message_is_refused(connect):
    agent = await connect()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.stub.Send(message(A, B, bytes(LONGEST)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.raw(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_stopping_ends_the_streams(signal, stream):
    stub, service = signal
    to_a = await stream(stub, A)
    service.stop()
    assert await read(to_a) is grpc.aio.EOF
