"""Strangers who know a public key: they do not get the stream of its agent, nor what waits for it."""

import anyio
import grpc
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.protocol.signal_proof import CHALLENGE, PROVES
from meshloom_front.rpc.calls import CALL_TAKES
from meshloom_signal import service as module
from meshloom_signal.service import STREAMS
from meshloom_signal.standing import PROVEN_FOR

pytestmark = pytest.mark.anyio
A, B = (PrivateKey.of(name * 32).public.text for name in (b"A", b"B"))
HELD, DENIED, UNPROVEN, TOO_MANY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


@pytest.fixture
def impatient(monkeypatch):
    """A service that waits a moment for answers."""
    monkeypatch.setattr(module, "ANSWER_WITHIN", 0.1)


async def fill(sender, service):
    """Sends to an agent that does not read, until something waits for it."""
    with anyio.fail_after(20):
        while not service._readers[B].waiting:
            await sender.send(A, B, bytes(60_000))


async def test_a_stranger_does_not_get_the_stream_of_an_agent_that_is_there(connect, hear, counted):
    agent, stranger, other = [await connect() for _ in range(3)]
    own = await agent.stream(B)
    for number in range(5):
        assert await stranger.refused(B) is HELD
        await other.send(A, B, bytes([number]))
        assert await hear(own) == bytes([number])
    assert counted("refused", "stream held") == 5


async def test_the_stream_of_a_client_that_went_silently_is_given_to_its_next_one(connect, hear, impatient):
    before, after, other = [await connect() for _ in range(3)]
    await before.stream(B)
    before.cut()
    own = await after.stream(B)
    await other.send(A, B)
    assert await hear(own) == b"sealed"


async def test_an_agent_that_opens_its_stream_again_by_the_same_connection_gets_it_at_once(connect, hear):
    agent = await connect()
    before = await agent.stream(B)
    after = await agent.stream(B)
    assert await hear(before) is None
    await agent.send(A, B)
    assert await hear(after) == b"sealed"


@pytest.mark.parametrize("silent", [False, True])
async def test_an_agent_that_proves_its_key_gets_its_stream_at_once(connect, hear, silent):
    stranger, agent, other = [await connect() for _ in range(3)]
    stolen = await stranger.stream(B)
    if silent:
        stranger.cut()
    own = await agent.proven(B)
    if not silent:
        assert await hear(stolen) is None
    await other.send(A, B)
    assert await hear(own) == b"sealed"


async def test_the_newest_of_two_proven_streams_gets_what_waits(connect, hear, served, eventually):
    before, after, other = [await connect() for _ in range(3)]
    await before.proven(B)
    await eventually(lambda: served[0]._readers)
    before.cut()
    await fill(other, served[0])
    await other.send(A, B, b"the last one")
    own = await after.proven(B)
    while await hear(own) != b"the last one":
        pass


async def test_nobody_replaces_a_proven_stream_without_a_proof_even_if_its_client_is_silent(
    connect, served, eventually
):
    agent, stranger = await connect(), await connect()
    own = await agent.proven(B)
    await eventually(lambda: served[0]._readers)
    agent.cut()
    for _ in range(3):
        assert await stranger.refused(B) is HELD
    assert B in served[0]._readers
    own.cancel()


async def test_a_key_that_was_proven_is_not_given_away_without_a_proof_for_some_time(
    connect, clock, served, eventually, hear
):
    agent, stranger = await connect(), await connect()
    own = await agent.proven(B)
    await eventually(lambda: served[0]._readers)
    own.cancel()
    await eventually(lambda: not served[0]._readers)
    clock.now += PROVEN_FOR - 1
    assert await stranger.refused(B) is HELD
    clock.now += 2
    claimed = await stranger.stream(B)
    await agent.proven(B)
    assert await hear(claimed) is None


async def test_what_waited_is_not_handed_to_a_stream_without_a_proof(connect, hear, impatient, served):
    before, after, other = [await connect() for _ in range(3)]
    await before.stream(B)
    before.cut()
    await fill(other, served[0])
    taken = await after.stream(B)
    await other.send(A, B, b"new")
    assert await hear(taken) == b"new"


async def test_a_stream_that_nobody_reads_ends_when_it_is_replaced(connect, served, eventually, impatient):
    before, after, other = [await connect() for _ in range(3)]
    await before.stream(B)
    before.cut()
    await fill(other, served[0])
    old = served[0]._readers[B]
    await after.stream(B)
    assert served[0]._readers[B] is not old
    await eventually(lambda: old.waiting.size == 0 and served[0]._senders.of(old.call.connection).streams == 0)


async def test_a_wrong_proof_is_refused_and_the_agent_keeps_its_stream(connect, hear, counted):
    agent, stranger, other = [await connect() for _ in range(3)]
    own = await agent.stream(B)
    call = await stranger.proven(B, by=A)
    with anyio.fail_after(5), pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is UNPROVEN
    await other.send(A, B)
    assert await hear(own) == b"sealed"
    assert counted("refused", "no proof") == 1


async def test_who_does_not_prove_the_key_after_all_is_one_of_those_who_claim_it(
    connect, hear, served, eventually, monkeypatch
):
    monkeypatch.setattr(module, "PROVE_WITHIN", 0.05)
    agent, stranger = await connect(), await connect()
    own = await agent.stream(B, (PROVES, "1"))
    await eventually(lambda: served[0]._readers)
    assert await stranger.refused(B, (PROVES, "1")) is HELD
    await stranger.send(A, B)
    assert await hear(own) == b"sealed"


async def test_unmodified_clients_are_not_challenged(connect):
    call = await (await connect()).stream(B)
    assert CHALLENGE not in dict(await call.initial_metadata())


async def test_a_message_to_oneself_comes_before_the_proof(connect, hear):
    """Some proxies keep an answer's head back until its first message: without it there is no challenge to answer."""
    agent = await connect()
    own = await agent.stream(B, (PROVES, "1"))
    await agent.send(B, B, b"knock")
    assert await hear(own) == b"knock"


async def test_a_stranger_displaces_his_own_streams_while_the_proof_of_the_agent_is_on_its_way(connect, hear):
    agent, stranger, other = await connect(), await connect("127.0.0.2"), await connect("127.0.0.3")
    own = agent.open(B, (PROVES, "1"))
    await own.initial_metadata()
    strangers = [await stranger.stream(B, (PROVES, "1")) for _ in range(STREAMS)]
    for each in strangers[:-1]:
        with anyio.fail_after(5), pytest.raises(grpc.aio.AioRpcError) as caught:
            await each.read()
        assert caught.value.code() is HELD
    await other.send(B, B, b"still waits for the proof")
    assert await hear(own) == b"still waits for the proof"


async def test_one_connection_has_few_streams(connect, counted, served, eventually):
    agent = await connect()
    keys = [PrivateKey.of(bytes([number]) * 32).public.text for number in range(STREAMS + 1)]
    open_ones = [await agent.stream(key) for key in keys[:-1]]
    assert await agent.refused(keys[-1]) is TOO_MANY
    assert counted("refused", "too many streams") == 1
    open_ones[0].cancel()
    await eventually(lambda: len(served[0]._readers) < STREAMS)
    await agent.stream(keys[-1])


async def test_a_stop_is_told_to_streams_that_wait_for_an_answer(connect, served, eventually):
    before, after = await connect(), await connect()
    await before.stream(B)
    before.cut()
    service = served[0]
    waiting = after.open(B)
    await eventually(lambda: len(service._contenders))
    service.stop()
    with anyio.fail_after(5), pytest.raises(grpc.aio.AioRpcError, match="stopping"):
        await waiting.read()


class TestWithPeers:
    """In a server that knows its peers."""

    @pytest.fixture
    def peers(self, registered):
        return registered

    async def test_only_registered_keys_connect_and_send(self, connect, peers, hear, counted):
        agent, stranger = await connect(), await connect()
        own = await agent.stream(B)
        peers.known.remove(A)
        assert await stranger.refused(A) is DENIED
        assert await stranger.refused(A, (PROVES, "1")) is DENIED
        assert await stranger.refused_message(A, B) is DENIED
        await agent.send(B, B, b"nothing before")
        assert await hear(own) == b"nothing before"
        assert counted("refused", "unknown key") == 3

    async def test_the_stream_of_a_removed_peer_ends_at_once(self, connect, peers, served):
        agent, waiting = await connect(), await connect()
        own = await agent.stream(B)
        proving = await waiting.stream(B, (PROVES, "1"))
        peers.known.remove(B)
        served[0].remove(B)
        for each in (own, proving):
            with anyio.fail_after(5), pytest.raises(grpc.aio.AioRpcError) as caught:
                await each.read()
            assert caught.value.code() is DENIED
        assert not served[0]._readers

    async def test_a_stranger_who_came_first_gives_way_to_the_address_that_management_knows(self, connect, peers, hear):
        stranger, agent = await connect("127.0.0.2"), await connect("127.0.0.1")
        peers.addresses[B] = "127.0.0.1"
        stolen = await stranger.stream(B)
        own = await agent.stream(B)
        assert await hear(stolen) is None
        assert await stranger.refused(B) is HELD
        await agent.send(A, B)
        assert await hear(own) == b"sealed"

    async def test_an_agent_that_proves_its_requests_is_nobody_without_a_proof(self, connect, peers, hear):
        stranger, agent = await connect(), await connect()
        peers.proving.add(B)
        assert await stranger.refused(B) is HELD
        own = await agent.proven(B)
        await agent.send(A, B)
        assert await hear(own) == b"sealed"

    async def test_a_proven_stream_makes_its_connection_a_known_one(self, connect, served, eventually):
        agent, other = await connect(), await connect()
        own, claimed = await agent.proven(B), await other.stream(A)
        await eventually(lambda: len(served[0]._readers) == 2)
        readers = served[0]._readers
        assert [readers[key].call.is_known for key in (A, B)] == [False, True]
        assert own is not claimed


async def test_a_service_that_stands_alone_knows_nobody(connect, served, eventually):
    agent = await connect()
    own = await agent.proven(B)
    await eventually(lambda: served[0]._readers)
    assert not served[0]._readers[B].call.is_known, "everybody can make a key and prove it"
    own.cancel()


async def test_a_stream_that_was_only_asked_for_a_proof_is_still_a_stranger(connect, callers, eventually):
    stranger, agent = await connect(), await connect()
    waiting = stranger.open(B, (PROVES, "1"))
    assert CHALLENGE in {name for name, _ in await waiting.initial_metadata()}
    assert len(callers.accepted) == 0
    await agent.proven(A)
    await eventually(lambda: len(callers.accepted) == 1)
    waiting.cancel()


async def test_each_stream_that_is_served_without_a_proof_counts_in_the_budget(connect, callers, eventually):
    stranger = await connect()
    await stranger.stream(B)
    one = callers.budget.standing.size
    for key in (A, *(PrivateKey.of(bytes([number]) * 32).public.text for number in range(STREAMS - 2))):
        await stranger.stream(key)
    assert callers.budget.standing.size - one >= (STREAMS - 1) * CALL_TAKES
    assert callers.budget.strangers.size == 0
    stranger.cut()
