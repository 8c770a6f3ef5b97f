"""The agent shows its signal server that it holds its key, where the server asks for that."""

import os

import anyio
import grpc
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.protocol.signal_proof import PROVES, Verifier
from meshloom_agent.channel import ServerAddress
from meshloom_agent.rivalry import End, Rivalry
from meshloom_agent.signal_client import SignalClient

pytestmark = pytest.mark.anyio

KEY = PrivateKey.of(b"k" * 32)


@pytest.fixture
async def states(signal):
    """What a client that runs says of its stream."""
    said = []
    client = SignalClient(
        ServerAddress(signal.target, tls=False), KEY, lambda _message: None, lambda ready, _why: said.append(ready)
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        yield said
        tasks.cancel_scope.cancel()


@pytest.fixture
def verifier(signal):
    """What asks for the proof."""
    made = Verifier(PrivateKey.of(b"s" * 32), os.urandom)
    signal.challenge = made.challenge()
    return made


async def test_a_challenge_is_answered(signal, verifier, states, until):
    await until(lambda: signal.proofs and states)
    assert states == [True]
    assert verifier.proves(signal.proofs[0].SerializeToString(), signal.challenge, KEY.public)
    assert signal.metadata[PROVES] == "1", "said before, so that an unmodified client is not asked"


async def test_a_proxy_may_keep_the_challenge_back(signal, verifier, states, until):
    signal.keeps_heads_back = True
    await until(lambda: signal.proofs)
    assert verifier.proves(signal.proofs[0].SerializeToString(), signal.challenge, KEY.public)


async def test_an_unmodified_server_is_used_without_a_proof(signal, states, until):
    await until(lambda: states)
    assert states == [True]
    assert signal.proofs == []


@pytest.mark.parametrize("challenge", ["x", "A" * 64, "A" * 88])
async def test_a_challenge_that_is_none_is_named_and_the_stream_stays(signal, until, challenge, caplog):
    signal.challenge = challenge
    said = []
    client = SignalClient(
        ServerAddress(signal.target, tls=False), KEY, lambda _message: None, lambda ready, _why: said.append(ready)
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: said)
        tasks.cancel_scope.cancel()
    assert said == [True]
    assert "is not a key and 16 random bytes" in caplog.text or "unusable" in caplog.text


async def test_a_server_that_ends_each_stream_at_once_is_asked_ever_more_seldom(signal, until, monkeypatch):
    waits = []

    class Short(Rivalry):
        def ended(self, *args, **kwargs):
            waits.append(super().ended(*args, **kwargs))
            return waits[-1]

    monkeypatch.setattr("meshloom_agent.rivalry.FIRST", 0.01)
    monkeypatch.setattr("meshloom_agent.signal_client.Rivalry", lambda: Short(random=lambda: 0.5))
    signal.ends = True
    client = SignalClient(ServerAddress(signal.target, tls=False), KEY, lambda _message: None, lambda *_: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: len(set(waits)) > 4)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (None, End.LOST),
        ((grpc.StatusCode.UNAVAILABLE, "Socket closed"), End.LOST),
        ((grpc.StatusCode.UNAVAILABLE, "the server is stopping: connect again"), End.LOST),
        ((grpc.StatusCode.ALREADY_EXISTS, "peer registered again"), End.REPLACED),
        ((grpc.StatusCode.FAILED_PRECONDITION, "peer registered again"), End.REPLACED),
    ],
)
async def test_only_a_server_that_says_so_has_replaced_a_stream(signal, until, monkeypatch, status, end):
    ends = []

    class Noting(Rivalry):
        def ended(self, now, stood, end):
            ends.append(end)
            return super().ended(now, stood, end)

    async def stream(_requests, context):
        await context.send_initial_metadata((("x-wiretrustee-peer-registered", "1"),))
        if status is not None:
            await context.abort(*status)

    await signal.stop()
    signal.ConnectStream = stream
    await signal.start()
    monkeypatch.setattr("meshloom_agent.signal_client.Rivalry", Noting)
    client = SignalClient(ServerAddress(signal.target, tls=False), KEY, lambda _message: None, lambda *_: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: ends)
        tasks.cancel_scope.cancel()
    assert set(ends) == {end}
