"""Which peers are away is told to those whose maps have them, when they ask."""

import anyio
import pytest

from meshloom.model.policy import Policy
from meshloom.rpc import management_pb2 as pb
from meshloom_management import presence
from meshloom_management.operations import peers

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def all_are_back(monkeypatch):
    monkeypatch.setattr(presence, "COMING_BACK", 0.0)


async def absent(agent, proof=None):
    answer = await agent.send("Absent", agent.seal(pb.AbsenceRequest(proof=proof)))
    return agent.opened(answer, pb.AbsenceResponse)


async def named(agent):
    return {each.key for each in (await absent(agent)).peers}


async def test_a_peer_is_away_until_it_has_a_stream_and_from_its_end_on(serve):
    served = await serve()
    one, _ = await served.enrolled("one")
    other, _ = await served.enrolled("other")
    assert await named(one) == {other.key.public.raw}
    stream = other.stream(other.seal(pb.SyncRequest()))
    await stream.read()
    assert await named(one) == set()
    stream.cancel()
    with anyio.fail_after(10):
        while not await named(one):
            pass


async def test_who_proves_its_request_gets_a_proof(serve):
    served = await serve()
    one, _ = await served.enrolled("one", proof=await served.agent("one").proof("Login"))
    proof = await one.proof("Absent")
    answer = await absent(one, proof)
    assert (answer.proof.nonce, answer.proof.method) == (proof.nonce, "Absent")
    sent = one.seal(pb.AbsenceRequest(proof=await one.proof("Absent")))
    await one.send("Absent", sent)
    assert await one.refusal("Absent", sent) == "ABORTED"
    assert await one.refusal("Absent", one.seal(pb.AbsenceRequest())) == "ABORTED"


async def test_nobody_hears_of_peers_that_its_policies_do_not_show(serve):
    served = await serve()
    one, _ = await served.enrolled("one")
    await served.enrolled("other")
    await served.account.change(lambda draft: [draft.delete(Policy, each) for each in list(draft.state.policies)])
    assert await named(one) == set()


async def test_who_is_not_registered_hears_nothing(serve):
    served = await serve()
    one, _ = await served.enrolled("one")
    stranger = served.agent("stranger")
    assert await stranger.refusal("Absent", stranger.seal(pb.AbsenceRequest())) == "PERMISSION_DENIED"
    await served.account.change(lambda draft: peers.delete(draft, served.peer(one).id))
    assert await one.refusal("Absent", one.seal(pb.AbsenceRequest())) == "PERMISSION_DENIED"


async def test_a_server_that_has_just_started_does_not_say_who_is_away(serve, monkeypatch):
    monkeypatch.setattr(presence, "COMING_BACK", 3600.0)
    served = await serve()
    one, _ = await served.enrolled("one")
    await served.enrolled("other")
    assert await one.refusal("Absent", one.seal(pb.AbsenceRequest())) == "UNAVAILABLE"
