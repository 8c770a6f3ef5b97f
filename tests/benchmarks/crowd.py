"""Peers that only enrol, connect and listen: as light as they can be, since they share the machine with the server."""

import asyncio
import os
import time

import grpc
import uvloop

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.rpc import management_pb2 as pb

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]
AT_ONCE = 32
"""Peers that are on their way into the mesh at the same time."""


class Channel:
    """A connection; requests and responses are bytes."""

    def __init__(self, port, host="127.0.0.1"):
        self._channel = grpc.aio.insecure_channel(f"{host}:{port}", options=OPTIONS)
        self.server_key = self._channel.unary_unary("/management.ManagementService/GetServerKey")
        self.login = self._channel.unary_unary("/management.ManagementService/Login")
        self.sync = self._channel.unary_stream("/management.ManagementService/Sync")

    async def key(self):
        """What requests are sealed for."""
        return PublicKey.parse(pb.ServerKeyResponse.FromString(await self.server_key(b"")).key)

    async def close(self):
        await self._channel.close()


class Peer:
    """One machine."""

    def __init__(self, channel, number, server_key, *, full=False):
        self.key = PrivateKey.of(os.urandom(32))
        self.box = Box(self.key, server_key, os.urandom)
        self.channel, self.number = channel, number
        self.updates, self.bytes, self.newest, self.newest_at = 0, 0, b"", 0.0
        self.arrived = asyncio.Event()
        capabilities = [1, 2] if full else [1]
        self.ssh_key = b"ssh-ed25519 " + self.key.public.text.encode() + b"A" * 24 if full else b""
        self.meta = pb.PeerSystemMeta(hostname=f"node{number}", netbirdVersion="0.77.1", capabilities=capabilities)

    def seal(self, message):
        body = self.box.seal(message.SerializeToString())
        return pb.EncryptedMessage(wgPubKey=self.key.public.text, body=body).SerializeToString()

    async def enrol(self, setup_key):
        await self.channel.server_key(b"")
        request = pb.LoginRequest(setupKey=setup_key, meta=self.meta)
        request.peerKeys.wgPubKey = self.key.public.text.encode()
        request.peerKeys.sshPubKey = self.ssh_key
        await self.channel.login(self.seal(request))

    async def listen(self):
        await self.channel.server_key(b"")
        async for message in self.channel.sync(self.seal(pb.SyncRequest(meta=self.meta))):
            self.updates += 1
            self.bytes += len(message)
            self.newest, self.newest_at = message, time.monotonic()
            self.arrived.set()

    def remote_peers(self):
        """How many peers the newest map shows."""
        sealed = pb.EncryptedMessage.FromString(self.newest)
        return len(pb.SyncResponse.FromString(self.box.open(sealed.body)).NetworkMap.remotePeers)


class Crowd:
    """Peers of one server.

    Args:
        connections: How many TCP connections they share; None gives each its own, as machines have.
        full: Each with an IPv6 address and an SSH key, which more than doubles the maps.
    """

    def __init__(self, server, connections=None, *, full=False):
        self._server, self._most, self._full = server, connections, full
        self._channels, self._tasks = [], []
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._server_key = None
        self.peers = []

    async def __aenter__(self):
        channel = Channel(self._server.port)
        self._server_key = await channel.key()
        await channel.close()
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    async def join(self, key=None):
        """One more peer, with its first map."""
        async with self._limit:
            if self._most is None or len(self._channels) < self._most:
                self._channels.append(Channel(self._server.port))
            channel = self._channels[len(self.peers) % len(self._channels)]
            peer = Peer(channel, len(self.peers), self._server_key, full=self._full)
            self.peers.append(peer)
            await peer.enrol(key or self._server.key)
            self._tasks.append(asyncio.ensure_future(peer.listen()))
            await peer.arrived.wait()
        return peer

    async def join_all(self, *keys):
        """As many as there are keys; the time that it took."""
        start = time.monotonic()
        await asyncio.gather(*(self.join(key) for key in keys))
        return time.monotonic() - start

    def updates(self):
        """How many each has got."""
        return [peer.updates for peer in self.peers]

    def bytes(self):
        """How much all have got, in MB."""
        return sum(peer.bytes for peer in self.peers) / 1e6

    async def settled(self):
        """Until nothing comes any more, and the server is at rest."""
        last = None
        while True:
            now = sum(self.updates()), round(self._server.cpu(), 1)
            if now == last:
                return
            last = now
            await asyncio.sleep(0.6)

    async def told(self, before, within=120):
        """Until all who were there before have got another update; the most memory that the server had meanwhile."""
        deadline, highest = time.monotonic() + within, 0
        while any(peer.updates == old for peer, old in zip(self.peers, before, strict=False)):
            if time.monotonic() > deadline:
                raise TimeoutError
            highest = max(highest, self._server.memory())
            await asyncio.sleep(0.02)
        return highest


def run(rows):
    """The rows of an asynchronous generator, in a fast event loop."""

    async def collect():
        return [row async for row in rows]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(collect())
