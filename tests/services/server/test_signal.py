"""Signal in the server that knows its peers: who may use it, and what strangers get."""

import os

import anyio
import grpc
import pytest

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.protocol.signal_proof import CHALLENGE, PROVES, prove
from meshloom.rpc import management_pb2
from meshloom.rpc import signalexchange_pb2 as pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceStub
from meshloom.rpc.signalexchange_pb2_grpc import SignalExchangeStub

pytestmark = [pytest.mark.anyio, pytest.mark.mesh]

OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


class Line:
    """A connection to the server's signal service."""

    def __init__(self, server):
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=OPTIONS)
        self.stub = SignalExchangeStub(self.channel)

    async def stream(self, key, *metadata):
        call = self.stub.ConnectStream(metadata=(("x-wiretrustee-peer-id", key.public.text), *metadata))
        with anyio.fail_after(10):
            return call, dict(await call.initial_metadata())

    async def proven(self, key):
        call, head = await self.stream(key, (PROVES, "1"))
        await call.write(prove(head[CHALLENGE], key, os.urandom))
        return call

    async def refused(self, key, *metadata):
        with anyio.fail_after(10), pytest.raises(grpc.aio.AioRpcError) as caught:
            await (await self.stream(key, *metadata))[0].read()
        return caught.value.code()

    async def send(self, sender, recipient, body):
        message = pb.EncryptedMessage(key=sender.public.text, remoteKey=recipient.public.text, body=body)
        await self.stub.Send(message, timeout=10)


@pytest.fixture
async def line():
    """Makes connections."""
    made = []

    def make(server):
        made.append(Line(server))
        return made[-1]

    yield make
    for each in made:
        await each.channel.close()


def by_proxy(address):
    """What a proxy adds for a client at that address."""
    return ("x-forwarded-for", address)


async def unmodified(server, *metadata):
    """The key of a peer whose client proves nothing, as NetBird's."""
    key, text = PrivateKey.of(os.urandom(32)), server.setup_key()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = ManagementServiceStub(channel)
        box = Box(key, PublicKey.parse((await stub.GetServerKey(management_pb2.Empty())).key), os.urandom)
        login = management_pb2.LoginRequest(setupKey=text, meta=management_pb2.PeerSystemMeta(hostname="theirs"))
        sealed = box.seal(login.SerializeToString())
        await stub.Login(management_pb2.EncryptedMessage(wgPubKey=key.public.text, body=sealed), metadata=metadata)
    return key


async def heard(call):
    with anyio.fail_after(10):
        return (await call.read()).body


async def test_a_stranger_who_is_no_peer_neither_connects_nor_sends(program, line):
    server = program().start().set_up()
    peer = await unmodified(server)
    own, _ = await line(server).stream(peer)
    stranger, key = line(server), PrivateKey.of(os.urandom(32))
    assert await stranger.refused(key) is grpc.StatusCode.PERMISSION_DENIED
    assert await stranger.refused(key, (PROVES, "1")) is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stranger.send(key, peer, b"rubbish")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await line(server).send(peer, peer, b"nothing before")
    assert await heard(own) == b"nothing before"
    metrics = server.get(f"http://127.0.0.1:{server.metrics}/metrics")[1].decode()
    assert 'meshloom_signal_refused_total{reason="unknown key"} 3.0' in metrics


async def test_a_stranger_who_knows_the_key_of_an_unmodified_client_does_not_get_its_stream(program, line):
    server = program().start().set_up()
    peer = await unmodified(server)
    agent, stranger = line(server), line(server)
    own, _ = await agent.stream(peer)
    for number in range(3):
        assert await stranger.refused(peer) is grpc.StatusCode.UNAVAILABLE
        await agent.send(peer, peer, bytes([number]))
        assert await heard(own) == bytes([number])


async def test_behind_a_proxy_an_unmodified_client_is_told_from_strangers_by_its_address(program, line):
    server = program().start().set_up()
    peer = await unmodified(server, by_proxy("192.0.2.7"))
    assert server.api("GET", "/api/peers")[1][0]["connection_ip"] == "192.0.2.7"
    proxy = line(server)
    stolen, _ = await proxy.stream(peer, by_proxy("198.51.100.1"))
    own, _ = await proxy.stream(peer, by_proxy("192.0.2.7"))
    with anyio.fail_after(10), pytest.raises(grpc.aio.AioRpcError, match="peer registered again"):
        await stolen.read()
    for number in range(3):
        assert await proxy.refused(peer, by_proxy("192.0.2.7, 198.51.100.1")) is grpc.StatusCode.UNAVAILABLE
        await proxy.send(peer, peer, bytes([number]))
        assert await heard(own) == bytes([number])


async def test_a_stranger_who_knows_the_key_of_an_agent_gets_its_stream_neither_before_nor_after_it(
    program, machine, line
):
    server = program().start().set_up()
    peer = machine(server.url)
    await peer.login(server.setup_key())
    agent, stranger = line(server), line(server)
    assert await stranger.refused(peer.key) is grpc.StatusCode.UNAVAILABLE
    own = await agent.proven(peer.key)
    for number in range(3):
        await agent.send(peer.key, peer.key, bytes([number]))
        assert await heard(own) == bytes([number])
        assert await stranger.refused(peer.key) is grpc.StatusCode.UNAVAILABLE


async def test_the_streams_of_a_removed_peer_end_at_once(program, machine, line):
    server = program().start().set_up()
    peer = machine(server.url)
    await peer.login(server.setup_key())
    own = await line(server).proven(peer.key)
    await line(server).send(peer.key, peer.key, b"stands")
    assert await heard(own) == b"stands"
    _, peers = server.api("GET", "/api/peers")
    assert server.api("DELETE", f"/api/peers/{peers[0]['id']}")[0] == 200
    with anyio.fail_after(10), pytest.raises(grpc.aio.AioRpcError) as caught:
        await own.read()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert await line(server).refused(peer.key) is grpc.StatusCode.PERMISSION_DENIED
