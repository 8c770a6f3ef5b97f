"""Management behind a gRPC server on a socket of its own, and agents that can say whatever they like to it."""

import asyncio
import os

import anyio
import attrs
import grpc
import pytest

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.freshness import request_proof
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb
from meshloom_front.rpc.server import RPC
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.presence import Presence
from meshloom_management.rpc import ManagementService, Refusals, seen_nonces
from meshloom_management.rpc.journal import NAME
from meshloom_management.updates import Updates

SERVER = PrivateKey.of(b"server's key".ljust(32))
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
PLACE = "/management.ManagementService/"


class Agent:
    """A machine with a key; messages are bytes, so that they can be recorded and sent again."""

    def __init__(self, channel, name):
        self.channel, self.name = channel, name
        self.key = PrivateKey.of(name.encode().ljust(32))
        self.box = Box(self.key, SERVER.public, os.urandom)

    def seal(self, message, sender=None):
        plain = message if isinstance(message, bytes) else message.SerializeToString()
        key = (sender or self.key).public.text
        return pb.EncryptedMessage(wgPubKey=key, body=self.box.seal(plain)).SerializeToString()

    async def challenge(self):
        answer = pb.ServerKeyResponse.FromString(await self.send("GetServerKey", b""))
        assert PublicKey.parse(answer.key) == SERVER.public
        return answer.challenge

    async def proof(self, method):
        return request_proof(await self.challenge(), method, os.urandom)

    async def send(self, method, data):
        return await self.channel.unary_unary(PLACE + method)(data, timeout=10)

    def stream(self, data, method="Sync"):
        return self.channel.unary_stream(PLACE + method)(data)

    def opened(self, data, kind):
        return kind.FromString(self.box.open(pb.EncryptedMessage.FromString(data).body))

    def login_request(self, setup_key="", hostname=None, ssh_key=b"ssh-ed25519 A", proof=None):
        meta = pb.PeerSystemMeta(hostname=hostname or self.name, netbirdVersion="0.77.1")
        request = pb.LoginRequest(setupKey=setup_key, meta=meta, proof=proof)
        request.peerKeys.sshPubKey = ssh_key
        return request

    async def login(self, *args, **more):
        """Returns what was sent, and the sealed answer."""
        sent = self.seal(self.login_request(*args, **more))
        return sent, await self.send("Login", sent)

    async def refusal(self, method, data):
        """The status that a message is answered with."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.send(method, data)
        return caught.value.code().name

    async def broken(self, stream):
        """The status that a stream ends with."""
        with anyio.fail_after(10), pytest.raises(grpc.aio.AioRpcError) as caught:
            while await stream.read() is not grpc.aio.EOF:
                pass
        return caught.value.code().name


@attrs.define
class Served:
    """The service, and how agents come to it."""

    account: object
    service: object
    seen: object
    updates: object
    rpc: RPC
    path: object
    counted: list
    refusals: object
    channels: list = attrs.field(factory=list)

    def agent(self, name):
        """A machine, with a connection of its own."""
        self.channels.append(grpc.aio.insecure_channel(f"unix:{self.path}", options=OPTIONS))
        return Agent(self.channels[-1], name)

    async def enrolled(self, name, **more):
        """A machine that has logged in, and its peer."""
        agent = self.agent(name)
        await agent.login(self.account.key, **more)
        return agent, self.peer(agent)

    def peer(self, agent):
        found = self.account.accounts.find_peer(agent.key.public)
        return None if found is None else found[1]


@pytest.fixture
async def serve(account, tmp_path):
    """Starts the service, as often as a test likes, on the same data folder."""
    opened = []

    async def start():
        counted = []
        memory = seen_nonces(tmp_path, SERVER, account.accounts.peer_keys)
        refusals = Refusals(counted.append)
        addresses = ServiceAddresses("signal.example:443", signal_tls=True, stun=())
        updates = Updates(account.accounts, addresses, "mesh.example")
        presence = Presence(account.accounts)
        seen = memory.__enter__()
        service = ManagementService(SERVER, account.accounts, updates, presence, seen=seen, refusals=refusals)
        rpc = RPC([service.methods()])
        path = tmp_path / f"grpc{len(opened)}"
        server = await asyncio.get_running_loop().create_unix_server(rpc, path)
        served = Served(account, service, seen, updates, rpc, path, counted, refusals)
        opened.append((server, served, memory))
        return served

    async def stop():
        """As a process that was killed: nothing is written in the end."""
        while opened:
            server, served, memory = opened.pop()
            server.close()
            for channel in served.channels:
                await channel.close()
            await served.rpc.stop(grace=1)
            memory.__exit__(None, None, None)

    def forget():
        """The messages that came are forgotten, as if an older server had been there."""
        (tmp_path / NAME).unlink()

    start.stop, start.forget = stop, forget
    yield start
    await stop()


@pytest.fixture
async def served(serve):
    return await serve()


@pytest.fixture
def eventually():
    """Waits for a condition."""

    async def until(condition):
        with anyio.fail_after(10):
            while not condition():
                await anyio.sleep(0.002)

    return until
