"""Streams of Meshloom's agents outlive proxies that cut what nothing comes by."""

import asyncio
import contextlib

import anyio
import grpc
import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom_front.rpc import connection
from meshloom_management.operations import peers
from meshloom_management.rpc import service

pytestmark = pytest.mark.anyio

DATA, HEAD = 0, 9
PATIENCE = 4.0
"""Seconds without data after which the proxy cuts; other frames, such as PING, do not count."""


class Proxy:
    """Passes connections on, and cuts those by which no DATA has come from the server for a while."""

    def __init__(self, path):
        self.path, self.cuts, self.is_dead = path, 0, False

    async def serve(self, reader, writer):
        there, to_server = await asyncio.open_unix_connection(self.path)
        up = asyncio.create_task(self.up(reader, to_server))
        try:
            await self.down(there, writer)
        except TimeoutError:
            self.cuts += 1
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            up.cancel()
            writer.close()
            to_server.close()

    async def up(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not self.is_dead:
                    writer.write(data)

    async def down(self, reader, writer):
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while True:
            async with asyncio.timeout_at(until):
                head = await reader.readexactly(HEAD)
                body = await reader.readexactly(int.from_bytes(head[:3]))
            writer.write(head + body)
            if head[3] == DATA:
                until = loop.time() + PATIENCE


@pytest.fixture
async def proxied(serve, monkeypatch):
    """The service, and a proxy before it."""
    monkeypatch.setattr(service, "SIGN_OF_LIFE", PATIENCE / 16)
    served = await serve()
    proxy = Proxy(served.path)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield served, proxy


async def opened(agent, channel, *, proves):
    request = pb.SyncRequest(proof=await agent.proof("Sync") if proves else None)
    agent.channel = channel
    return agent.stream(agent.seal(request))


async def test_a_stream_without_news_outlives_a_proxy_that_waits_for_data(proxied):
    served, proxy = proxied
    agent, _ = await served.enrolled("one", proof=await served.agent("one").proof("Login"))
    async with grpc.aio.insecure_channel(proxy.target) as channel:
        stream = await opened(agent, channel, proves=True)
        with anyio.fail_after(30):
            found = [agent.opened(await stream.read(), pb.SyncResponse) for _ in range(20)]
    assert found[0].HasField("NetworkMap")
    assert [each.proof.number for each in found] == list(range(20))
    for each in found[1:]:
        each.ClearField("proof")
        assert each == pb.SyncResponse(), "nothing changes by it"
    assert proxy.cuts == 0


async def test_an_agent_that_proves_nothing_is_sent_maps_alone(proxied):
    served, _ = proxied
    ours, _ = await served.enrolled("ours", proof=await served.agent("ours").proof("Login"))
    other, _ = await served.enrolled("other")
    quiet = await opened(other, other.channel, proves=False)
    stream = await opened(ours, ours.channel, proves=True)
    with anyio.fail_after(30):
        assert other.opened(await quiet.read(), pb.SyncResponse).HasField("NetworkMap")
        for _ in range(5):
            await stream.read()
        await served.account.change(lambda draft: peers.delete(draft, served.peer(ours).id))
        assert other.opened(await quiet.read(), pb.SyncResponse).HasField("NetworkMap")


async def test_an_agent_that_is_dead_without_a_word_is_no_longer_connected(serve, monkeypatch):
    monkeypatch.setattr(connection, "KEEPALIVE", 0.1)
    monkeypatch.setattr(connection, "ANSWERS_WITHIN", 0.3)
    served = await serve()
    agent, peer = await served.enrolled("one", proof=await served.agent("one").proof("Login"))
    proxy = Proxy(served.path)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream = await opened(agent, channel, proves=True)
            await stream.read()
            assert served.updates.is_connected(peer.id)
            proxy.is_dead = True
            with anyio.fail_after(10):
                while served.updates.is_connected(peer.id):
                    await anyio.sleep(0.01)
