"""The agent's own client at this service, with a stranger who knows its key."""

import anyio
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.protocol.signal import SignalKind, SignalMessage
from meshloom_agent.channel import ServerAddress
from meshloom_agent.signal_client import SignalClient

pytestmark = pytest.mark.anyio
A, B = (PrivateKey.of(name * 32) for name in (b"A", b"B"))


class Ear:
    """A client, and what it heard and said of its stream."""

    def __init__(self, port, key):
        self.heard, self.states = [], []
        address = ServerAddress(f"127.0.0.1:{port}", tls=False)
        self.client = SignalClient(address, key, self.heard.append, lambda ready, _why: self.states.append(ready))


@pytest.fixture
async def agents(served):
    made = [Ear(served[1], key) for key in (A, B)]
    async with anyio.create_task_group() as tasks:

        def start(*chosen):
            for each in chosen:
                tasks.start_soon(each.client.run)

        yield start, *made
        tasks.cancel_scope.cancel()


async def test_agents_talk_while_a_stranger_tries_for_the_streams_of_both(agents, connect, served, eventually):
    start, one, two = agents
    stranger = await connect()
    start(one, two)
    await eventually(lambda: len(served[0]._readers) == 2)
    for number in range(5):
        for key in (A, B):
            await stranger.refused(key.public.text)
        one.client.send_soon(SignalMessage(SignalKind.CANDIDATE, B.public, candidate=str(number)))
        await eventually(
            lambda number=number: [each.candidate for each in two.heard] == list(map(str, range(number + 1)))
        )
    assert one.states == two.states == [True]


async def test_an_agent_gets_the_stream_that_a_stranger_was_first_to_open(agents, connect, hear, eventually):
    start, one, two = agents
    stranger = await connect()
    stolen = await stranger.stream(B.public.text)
    start(one, two)
    assert await hear(stolen) is None
    await eventually(lambda: one.states == two.states == [True])
    one.client.send_soon(SignalMessage(SignalKind.CANDIDATE, B.public, candidate="for you alone"))
    await eventually(lambda: [each.candidate for each in two.heard] == ["for you alone"])


async def test_an_agent_that_comes_back_gets_its_stream_while_its_old_one_still_stands(agents, served, eventually):
    start, _, before = agents
    start(before)
    await eventually(lambda: served[0]._readers)
    after = Ear(served[1], B)
    start(after)
    await eventually(lambda: after.states == [True] and False in before.states)
    assert len(served[0]._readers) == 1
