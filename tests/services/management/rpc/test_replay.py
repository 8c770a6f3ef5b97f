"""Messages that somebody recorded on their way, and sends again: none counts twice, nor for anything else."""

import os
from datetime import timedelta

import pytest

from meshloom.model.keys import PublicKey
from meshloom.protocol.freshness import LIFETIME, answer_proof, check_answer, request_proof
from meshloom.rpc import management_pb2 as pb
from meshloom_management.operations import peers
from meshloom_management.rpc.seen import STRANGERS

pytestmark = pytest.mark.anyio

PLACE = "/management.ManagementService/"
METHODS = {"Login": pb.LoginRequest, "Sync": pb.SyncRequest, "SyncMeta": pb.SyncMetaRequest, "Logout": pb.Empty}


def as_its_own(agent, answer):
    """An answer of the server as if the peer had sealed it: the key that seals is the same in both directions."""
    return pb.EncryptedMessage(
        wgPubKey=agent.key.public.text, body=pb.EncryptedMessage.FromString(answer).body
    ).SerializeToString()


async def sent_again(agent, method, data):
    """The status of a message that is sent again, by whatever call."""
    return await agent.broken(agent.stream(data)) if method == "Sync" else await agent.refusal(method, data)


async def test_no_message_and_no_answer_of_a_netbird_peer_logs_it_out_when_sent_to_logout(served):
    agent, peer = await served.enrolled("laptop")
    login, answer = await agent.login()
    sync = agent.seal(pb.SyncRequest(meta=pb.PeerSystemMeta(hostname="laptop")))
    stream = agent.stream(sync)
    update = await stream.read()
    meta = agent.seal(pb.SyncMetaRequest(meta=pb.PeerSystemMeta(hostname="laptop")))
    await agent.send("SyncMeta", meta)
    for recorded in (login, as_its_own(agent, answer), sync, as_its_own(agent, update), meta):
        assert await agent.refusal("Logout", recorded) == "ABORTED"
    assert served.peer(agent) is not None
    assert served.updates.is_connected(peer.id)
    await agent.send("Logout", agent.seal(b""))
    assert served.peer(agent) is None


@pytest.mark.parametrize("is_registered", [True, False])
@pytest.mark.parametrize("method", [*METHODS, "Job"])
async def test_an_answer_of_the_server_is_refused_in_the_same_way_whatever_it_is_sent_as(served, method, is_registered):
    agent, _ = await served.enrolled("laptop")
    _, answer = await agent.login()
    update = await agent.stream(agent.seal(pb.SyncRequest())).read()
    if not is_registered:
        await agent.send("Logout", agent.seal(b""))
    for sent_back in (as_its_own(agent, answer), as_its_own(agent, update)):
        if method == "Job":
            job = agent.channel.stream_stream(PLACE + method)()
            await job.write(sent_back)
            assert await agent.broken(job) == "ABORTED"
        else:
            assert await sent_again(agent, method, sent_back) == "ABORTED"


async def test_a_logout_says_nothing_else(served):
    """A message that was held back on its way has not come yet, and so is no repetition."""
    agent, _ = await served.enrolled("laptop")
    held_back = [
        pb.SyncRequest(meta=pb.PeerSystemMeta(hostname="laptop")),
        agent.login_request(),
        pb.JobRequest(ID=b"x" * 36),
        b"\x18\x01",
    ]
    for message in held_back:
        assert await agent.refusal("Logout", agent.seal(message)) == "INVALID_ARGUMENT"
    assert served.peer(agent) is not None


@pytest.mark.parametrize("method", ["Login", "SyncMeta"])
async def test_a_recorded_message_sets_no_host_name_or_ssh_key_back(served, method):
    agent, _ = await served.enrolled("laptop", hostname="before", ssh_key=b"ssh-ed25519 before")
    if method == "Login":
        recorded, _ = await agent.login(hostname="before", ssh_key=b"ssh-ed25519 before")
    else:
        recorded = agent.seal(pb.SyncMetaRequest(meta=pb.PeerSystemMeta(hostname="before")))
        await agent.send("SyncMeta", recorded)
    await agent.login(hostname="after", ssh_key=b"ssh-ed25519 after")
    assert await agent.refusal(method, recorded) == "ABORTED"
    peer = served.peer(agent)
    assert (peer.meta.hostname, peer.ssh_key) == ("after", "ssh-ed25519 after")


async def test_a_recorded_sync_does_not_end_the_real_stream(served):
    agent, peer = await served.enrolled("laptop")
    recorded = agent.seal(pb.SyncRequest())
    stream = agent.stream(recorded)
    assert await stream.read()
    assert await agent.broken(agent.stream(recorded)) == "ABORTED"
    assert served.updates.is_connected(peer.id)
    await served.enrolled("other")
    assert await stream.read(), "the stream of the peer goes on"


async def test_the_login_before_the_registration_does_not_count_after_it(served):
    agent = served.agent("laptop")
    recorded = agent.seal(agent.login_request(hostname="before"))
    assert await agent.refusal("Login", recorded) == "PERMISSION_DENIED"
    await agent.login(served.account.key, hostname="after")
    assert await agent.refusal("Login", recorded) == "ABORTED"
    assert served.peer(agent).meta.hostname == "after"


async def test_a_login_that_enrolled_does_not_enrol_again_once_the_peer_is_gone(served):
    agent = served.agent("laptop")
    enrolling, _ = await agent.login(served.account.key)
    logout = agent.seal(b"")
    await agent.send("Logout", logout)
    assert await agent.refusal("Login", enrolling) == "ABORTED"
    assert served.peer(agent) is None
    await agent.login(served.account.key)
    assert await agent.refusal("Logout", logout) == "ABORTED", "the old logout is not for the new peer"
    assert served.peer(agent) is not None


async def test_what_was_seen_is_known_after_a_process_that_was_killed(serve, account):
    first = await serve()
    agent, _ = await first.enrolled("laptop")
    recorded, answer = await agent.login()
    gone, peer = await first.enrolled("gone")
    of_gone, _ = await gone.login()
    await account.change(lambda draft: peers.delete(draft, peer.id))
    await serve.stop()
    again = await serve()
    agent, gone = again.agent("laptop"), again.agent("gone")
    assert await agent.refusal("Login", recorded) == "ABORTED"
    assert await agent.refusal("Logout", as_its_own(agent, answer)) == "ABORTED"
    assert await gone.refusal("Login", of_gone) == "ABORTED"
    await agent.login()


# What is sent while its sender is not registered.


REFUSED = {
    "SyncMeta": "PERMISSION_DENIED",
    "Logout": "NOT_FOUND",
    "Sync": "PERMISSION_DENIED",
    "Login": "PERMISSION_DENIED",
}


def names_it(agent, method):
    """A message of a NetBird client that would tell another host name."""
    meta = pb.PeerSystemMeta(hostname="before")
    return agent.seal(b"" if method == "Logout" else METHODS[method](meta=meta))


async def remove(served, agent):
    """As an administrator does."""
    id = served.peer(agent).id
    await served.account.change(lambda draft: peers.delete(draft, id))


async def test_what_opens_is_spent_even_where_it_cannot_be_read_as_what_it_is_sent_as(served):
    agent, _ = await served.enrolled("laptop")
    login = agent.seal(agent.login_request(setup_key=served.account.key))
    assert await agent.refusal("SyncMeta", login) == "INVALID_ARGUMENT"
    assert await agent.refusal("Login", login) == "ABORTED"


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_what_a_removed_peer_sent_does_not_count_once_it_is_registered_again(serve, method, killed):
    served = await serve()
    agent, _ = await served.enrolled("laptop")
    await remove(served, agent)
    recorded = names_it(agent, method)
    assert await sent_again(agent, method, recorded) == REFUSED[method]
    if killed:
        await serve.stop()
        served = await serve()
        agent = served.agent("laptop")
    await agent.login(served.account.key)
    stream = agent.stream(agent.seal(pb.SyncRequest()))
    assert await stream.read()
    assert await sent_again(agent, method, recorded) == "ABORTED"
    assert served.peer(agent).meta.hostname == "laptop"
    assert served.updates.is_connected(served.peer(agent).id), "the stream of the peer goes on"


async def test_strangers_push_out_nothing_of_what_a_removed_peer_sent(served):
    agent, _ = await served.enrolled("laptop")
    await remove(served, agent)
    recorded = [names_it(agent, method) for method in METHODS]
    for method, data in zip(METHODS, recorded, strict=True):
        assert await sent_again(agent, method, data) == REFUSED[method]
    for number in range(STRANGERS + 1):
        key = PublicKey.of(number.to_bytes(32))
        served.seen.see(key, bytes(24), registered=False)
    await agent.login(served.account.key)
    for method, data in zip(METHODS, recorded, strict=True):
        assert await sent_again(agent, method, data) == "ABORTED"


async def test_a_removed_peer_that_was_silent_all_the_time_is_remembered_too(serve):
    """It may have been registered before messages were remembered."""
    served = await serve()
    agent, _ = await served.enrolled("laptop")
    await serve.stop()
    serve.forget()
    served = await serve()
    agent = served.agent("laptop")
    await remove(served, agent)
    recorded = names_it(agent, "Logout")
    assert await agent.refusal("Logout", recorded) == "NOT_FOUND"
    await agent.login(served.account.key)
    assert await agent.refusal("Logout", recorded) == "ABORTED"


# Agents of ours, which prove that their requests are fresh.


async def proven(agent, method, **fields):
    """A fresh message for a method."""
    kind = METHODS.get(method, pb.JobRequest)
    return agent.seal(kind(proof=await agent.proof(method), **fields))


async def our_own(served, name):
    agent = served.agent(name)
    await agent.login(served.account.key, proof=await agent.proof("Login"))
    assert served.peer(agent).proves
    return agent


async def test_an_agent_proves_from_its_login_on_and_an_old_peer_from_its_next_one(served):
    await our_own(served, "new")
    old, peer = await served.enrolled("old")
    assert not peer.proves
    await old.login(proof=await old.proof("Login"))
    assert served.peer(old).proves


@pytest.mark.parametrize("method", METHODS)
async def test_a_peer_that_proves_is_not_believed_without_a_proof(served, method):
    agent = await our_own(served, "laptop")
    plain = agent.login_request(served.account.key) if method == "Login" else METHODS[method]()
    assert await sent_again(agent, method, agent.seal(plain)) == "ABORTED"
    assert served.peer(agent).proves


@pytest.mark.parametrize("made_for", [*METHODS, "Job"])
@pytest.mark.parametrize("used_for", METHODS)
async def test_a_proof_counts_for_its_method_only(served, made_for, used_for):
    if made_for == used_for:
        return
    agent = await our_own(served, "laptop")
    assert await sent_again(agent, used_for, await proven(agent, made_for)) == "ABORTED"
    assert served.peer(agent) is not None


async def test_an_old_challenge_and_one_of_another_server_are_asked_for_again(served, clock):
    agent = await our_own(served, "laptop")
    late = await proven(agent, "SyncMeta")
    clock.now += timedelta(seconds=LIFETIME + 1)
    assert await agent.refusal("SyncMeta", late) == "ABORTED"
    foreign = pb.SyncMetaRequest(proof=request_proof(bytes(40), "SyncMeta", os.urandom))
    assert await agent.refusal("SyncMeta", agent.seal(foreign)) == "ABORTED"
    await agent.send("SyncMeta", await proven(agent, "SyncMeta"))


@pytest.mark.parametrize("method", METHODS)
async def test_a_proof_counts_once(served, method):
    agent = await our_own(served, "laptop")
    data = await proven(agent, method)
    if method == "Sync":
        stream = agent.stream(data)
        assert await stream.read()
    else:
        await agent.send(method, data)
    if method == "Logout":
        await agent.login(served.account.key, proof=await agent.proof("Login"))
    assert await sent_again(agent, method, data) == "ABORTED"
    assert served.peer(agent) is not None


@pytest.mark.parametrize("was_registered", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_what_was_made_before_the_registration_does_not_count_after_it(served, clock, method, was_registered):
    """Nothing needs to be remembered for that: the challenge tells when it was made."""
    agent = served.agent("laptop")
    if was_registered:
        agent = await our_own(served, "laptop")
        await remove(served, agent)
    recorded = await proven(agent, method)
    clock.now += timedelta(milliseconds=1)
    await agent.login(served.account.key, proof=await agent.proof("Login"))
    assert await sent_again(agent, method, recorded) == "ABORTED"
    assert served.peer(agent).meta.hostname == "laptop"
    await agent.send("SyncMeta", await proven(agent, "SyncMeta"))


async def test_a_login_that_takes_its_time_registers_and_counts_once(served, clock):
    agent = served.agent("laptop")
    request = await agent.proof("Login")
    clock.now += timedelta(seconds=LIFETIME - 1)
    sent, _ = await agent.login(served.account.key, proof=request)
    assert await agent.refusal("Login", sent) == "ABORTED"
    await agent.login(proof=await agent.proof("Login"))


async def test_a_message_without_a_proof_is_spent_by_its_refusal(served):
    """The next machine with this key may be one that proves nothing."""
    agent = await our_own(served, "laptop")
    recorded = names_it(agent, "SyncMeta")
    assert await agent.refusal("SyncMeta", recorded) == "ABORTED"
    await remove(served, agent)
    await agent.login(served.account.key)
    assert await agent.refusal("SyncMeta", recorded) == "ABORTED"


async def test_a_clock_that_is_set_back_keeps_no_peer_out(served, clock):
    agent = await our_own(served, "laptop")
    clock.now -= timedelta(hours=1)
    await agent.send("SyncMeta", await proven(agent, "SyncMeta"))


async def test_an_agents_logout_has_its_proof_and_nothing_else(served):
    agent = await our_own(served, "laptop")
    more = pb.Empty(proof=await agent.proof("Logout")).SerializeToString() + b"\x18\x01"
    assert await agent.refusal("Logout", agent.seal(more)) == "INVALID_ARGUMENT"
    await agent.send("Logout", await proven(agent, "Logout"))
    assert served.peer(agent) is None


async def test_answers_repeat_the_proof_of_their_request(served):
    agent = await our_own(served, "laptop")
    request = await agent.proof("Login")
    _, answer = await agent.login(proof=request)
    check_answer(agent.opened(answer, pb.LoginResponse).proof, request)
    request = await agent.proof("Sync")
    stream = agent.stream(agent.seal(pb.SyncRequest(proof=request)))
    check_answer(agent.opened(await stream.read(), pb.SyncResponse).proof, request, 0)
    await served.enrolled("other")
    update = agent.opened(await stream.read(), pb.SyncResponse)
    assert len(update.NetworkMap.remotePeers) == 1
    check_answer(update.proof, request, 1)
    served.updates.renew_config()
    update = agent.opened(await stream.read(), pb.SyncResponse)
    assert not update.HasField("NetworkMap")
    assert update.proof == answer_proof(request, 2)


async def test_the_answer_to_a_logout_proves_that_the_peer_is_gone(served):
    agent = await our_own(served, "laptop")
    for _ in range(2):  # the first answer may have been lost
        request = await agent.proof("Logout")
        answer = pb.Empty.FromString(await agent.send("Logout", agent.seal(pb.Empty(proof=request))))
        check_answer(agent.opened(answer.answer.SerializeToString(), pb.LogoutResponse).proof, request)
        assert served.peer(agent) is None


async def test_answers_to_netbird_peers_have_nothing_of_it(served):
    agent, _ = await served.enrolled("laptop")
    _, answer = await agent.login()
    assert not agent.opened(answer, pb.LoginResponse).HasField("proof")
    stream = agent.stream(agent.seal(pb.SyncRequest()))
    assert not agent.opened(await stream.read(), pb.SyncResponse).HasField("proof")
    assert await agent.send("Logout", agent.seal(b"")) == b""
    assert await agent.refusal("Logout", agent.seal(b"")) == "NOT_FOUND"
