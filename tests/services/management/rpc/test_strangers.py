"""What strangers send is refused before it costs anything, and counted without a line of the log for each."""

import logging
import os

import pytest

from meshloom.model.keys import PrivateKey
from meshloom.protocol import seal
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom_management.operations import peers

pytestmark = pytest.mark.anyio


@pytest.fixture
def opened(monkeypatch):
    """Counts what is worked out with keys."""
    counted = []
    for name in ("crypto_box_beforenm", "crypto_box_open_easy_afternm"):
        real = getattr(seal, name)

        def counting(*args, name=name, real=real):
            counted.append(name)
            return real(*args)

        monkeypatch.setattr(seal, name, counting)
    return counted


@pytest.mark.parametrize(
    ("method", "status"), [("SyncMeta", "PERMISSION_DENIED"), ("Logout", "NOT_FOUND"), ("Sync", "PERMISSION_DENIED")]
)
async def test_a_strangers_message_is_not_even_opened(served, opened, method, status):
    agent = served.agent("stranger")
    data = agent.seal(b"")
    opened.clear()
    if method == "Sync":
        assert await agent.broken(agent.stream(data)) == status
    else:
        assert await agent.refusal(method, data) == status
    assert opened == []


async def test_the_shared_key_of_a_registered_peer_is_worked_out_once(served, opened):
    agent, _ = await served.enrolled("laptop")
    await agent.login()
    opened.clear()
    for _ in range(5):
        await agent.login()
    assert opened == ["crypto_box_open_easy_afternm"] * 5


async def test_refusals_are_counted_and_said_in_one_line(served, caplog):
    caplog.set_level(logging.DEBUG)
    stranger = served.agent("stranger")
    laptop, _ = await served.enrolled("laptop")
    recorded, _ = await laptop.login()
    for _ in range(5):  # what a stranger may cost at once is more, on a slow machine too
        assert await stranger.refusal("Login", stranger.seal(stranger.login_request())) == "PERMISSION_DENIED"
        assert await stranger.refusal("SyncMeta", stranger.seal(b"")) == "PERMISSION_DENIED"
        assert await stranger.refusal("Login", b"\xff") == "INVALID_ARGUMENT"
    assert await laptop.refusal("Login", recorded) == "ABORTED"
    assert not [record for record in caplog.records if record.name.startswith("meshloom")]
    assert len(served.counted) == 16
    served.refusals.say()
    served.refusals.say()
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("meshloom")]
    assert line == "messages of agents were refused: aborted: 1, invalid_argument: 5, permission_denied: 10"


async def test_a_connection_is_proven_by_a_registered_peers_message_alone(served):
    agent, proven = served.agent("laptop"), []
    await agent.challenge()
    (connection,) = served.rpc.connections
    connection.prove = lambda: proven.append(True)
    await agent.refusal("Login", agent.seal(agent.login_request()))
    await agent.refusal("SyncMeta", agent.seal(b""))
    other = Box(PrivateKey.of(b"9" * 32), PrivateKey.of(b"8" * 32).public, os.urandom)
    forged = pb.EncryptedMessage(wgPubKey=agent.key.public.text, body=other.seal(b"")).SerializeToString()
    await agent.refusal("SyncMeta", forged)
    assert proven == []
    recorded, _ = await agent.login(served.account.key)
    assert len(proven) == 1, "registered by this very message"
    await agent.refusal("SyncMeta", forged)
    await agent.refusal("Login", recorded)
    assert len(proven) == 1
    await agent.send("SyncMeta", agent.seal(b""))
    assert len(proven) == 2
    stream = agent.stream(agent.seal(pb.SyncRequest()))
    await stream.read()
    assert len(proven) == 3
    peer = served.peer(agent)
    await served.account.change(lambda draft: peers.delete(draft, peer.id))
    await agent.refusal("SyncMeta", agent.seal(b""))
    assert len(proven) == 3
