"""Streams: what one caller can hold by them, and when they end."""

import asyncio
import contextlib
from ipaddress import IPv4Address

import anyio
import attrs
import grpc
import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom.testing import samples
from meshloom_front.http2 import frames
from meshloom_front.http2.headers import encode
from meshloom_front.rpc.messages import framed
from meshloom_management.operations import peers
from meshloom_management.rpc import jobs

pytestmark = pytest.mark.anyio


async def many(account, count, name):
    """So many peers, of which maps are made."""
    made = [
        samples.peer(
            f"{name}{number}",
            account_id=account.id,
            ip=IPv4Address(f"100.72.{100 + number // 250}.{number % 250 + 1}"),
            ipv6=None,
            key=samples.public_key(f"{name}{number}"),
            dns_label=f"{name}{number}",
            ssh_key="ssh-ed25519 " + "A" * 100,
        )
        for number in range(count)
    ]
    everybody = account.state.all_group
    peers_of_all = everybody.peers | {peer.id for peer in made}
    await account.put(*made, attrs.evolve(everybody, peers=peers_of_all))


class Unread:
    """A connection by which much is asked for and nothing is read: what waits for it stays with the server."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.stream = reader, writer, -1

    def ask(self, method, data, *, ended=True):
        self.stream += 2
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"/management.ManagementService/{method}".encode()),
            (b"content-type", b"application/grpc"),
        ]
        block, body = encode(fields), framed(data) if data is not None else b""
        self.writer.write(frames.head(frames.HEADERS, frames.END_HEADERS, self.stream, len(block)) + block)
        flags = frames.END_STREAM if ended else 0
        self.writer.write(frames.head(frames.DATA, flags, self.stream, len(body)) + body)

    async def answered(self):
        """Until the answer has begun, or the connection has ended."""
        with anyio.fail_after(10), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            kind = None
            while kind != frames.HEADERS:
                head = await self.reader.readexactly(frames.HEAD)
                await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                kind = head[3]


@pytest.fixture
async def unread(served):
    opened = []

    async def start():
        reader, writer = await asyncio.open_unix_connection(served.path)
        opened.append(writer)
        writer.write(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
        return Unread(reader, writer)

    yield start
    for writer in opened:
        writer.transport.abort()


def waiting(served, number=None):
    """Bytes of answers that wait in all connections, or on the streams with that number."""
    streams = [stream for connection in served.rpc.connections for stream in connection.http2._streams.values()]
    return sum(len(stream.waiting) for stream in streams if number in (None, stream.number))


async def test_replaced_streams_hold_no_map_while_their_reader_does_not_read(served, unread, eventually):
    await many(served.account, 300, "m")
    agent, _ = await served.enrolled("laptop")
    connection = await unread()
    for _ in range(20):
        connection.ask("Sync", agent.seal(pb.SyncRequest()))
        await eventually(lambda: waiting(served, connection.stream))
    await eventually(lambda: len(served.rpc.tasks) == 1)
    assert waiting(served) < 300 * 500, "one map"
    assert len(served.updates) == 1


async def test_a_replaced_stream_ends_while_it_waits_for_its_window(served, unread, eventually):
    await many(served.account, 300, "m")
    agent, _ = await served.enrolled("laptop")
    connection = await unread()
    connection.ask("Sync", agent.seal(pb.SyncRequest()))
    await eventually(lambda: waiting(served))
    stream = agent.stream(agent.seal(pb.SyncRequest()))
    assert await stream.read()
    await eventually(lambda: not waiting(served))
    assert len(served.rpc.tasks) == 1


async def test_a_removed_peers_stream_ends_while_it_waits_for_its_window(served, unread, eventually):
    await many(served.account, 300, "m")
    agent, peer = await served.enrolled("laptop")
    connection = await unread()
    connection.ask("Sync", agent.seal(pb.SyncRequest()))
    await eventually(lambda: waiting(served))
    await served.account.change(lambda draft: peers.delete(draft, peer.id))
    await eventually(lambda: not waiting(served) and not served.rpc.tasks)


async def test_a_removed_peer_that_reads_is_told_so(served):
    agent, peer = await served.enrolled("laptop")
    stream = agent.stream(agent.seal(pb.SyncRequest()))
    assert await stream.read()
    await served.account.change(lambda draft: peers.delete(draft, peer.id))
    assert await agent.broken(stream) == "PERMISSION_DENIED"


async def test_peers_that_do_not_read_keep_nobody_from_their_map(served, unread, eventually):
    """However long they take."""
    served.service._updates.turns._patience = 1000
    await many(served.account, 300, "m")
    for number in range(40):
        agent, _ = await served.enrolled(f"slow{number}")
        (await unread()).ask("Sync", agent.seal(pb.SyncRequest()))
    await eventually(lambda: len(served.updates) == 40)
    agent, _ = await served.enrolled("quick")
    stream = agent.stream(agent.seal(pb.SyncRequest()))
    with anyio.fail_after(10):
        assert await stream.read()
    assert waiting(served)


async def test_unread_maps_of_all_peers_together_stay_within_the_budget(served, unread, eventually):
    """A map that is not read counts for the connection of its reader; the largest go."""
    await many(served.account, 300, "m")
    budget = served.rpc.callers.budget.known
    budget.limit, held, read = 1 << 20, [], []
    agent, _ = await served.enrolled("quick")

    async def follow():
        stream = agent.stream(agent.seal(pb.SyncRequest()))
        while True:
            read.append(await stream.read())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        for number in range(40):
            slow, _ = await served.enrolled(f"slow{number}")
            connection = await unread()
            connection.ask("Sync", slow.seal(pb.SyncRequest()))
            await connection.answered()
            held.append(waiting(served))
        assert max(held) <= budget.limit
        assert held != sorted(held), "some have ended"
        before = len(read)
        await served.account.put(attrs.evolve(served.peer(slow), dns_label="renamed"))
        await eventually(lambda: len(read) > before)
        tasks.cancel_scope.cancel()


# Job.


def job(agent):
    return agent.channel.stream_stream("/management.ManagementService/Job")()


async def first(agent, stream):
    await stream.write(agent.seal(pb.JobRequest(ID=b"x" * 36)))


async def test_a_job_stream_stays_open_after_a_valid_first_message(served, eventually):
    agent, _ = await served.enrolled("laptop")
    stream = job(agent)
    await first(agent, stream)
    await eventually(lambda: len(served.service._jobs._known) == 1)
    await stream.write(b"an answer to nothing")
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK
    await eventually(lambda: not len(served.service._jobs))


async def test_a_job_stream_on_which_nothing_comes_ends(served):
    served.service._jobs._first_within = 0.02
    agent, _ = await served.enrolled("laptop")
    assert await agent.broken(job(agent)) == "DEADLINE_EXCEEDED"
    assert not len(served.service._jobs)


async def test_a_stranger_has_no_job_stream(served):
    agent = served.agent("stranger")
    stream = job(agent)
    await first(agent, stream)
    assert await agent.broken(stream) == "PERMISSION_DENIED"
    assert not len(served.service._jobs)


async def test_a_peer_has_one_job_stream_the_newest(served, eventually):
    agent, _ = await served.enrolled("laptop")
    streams = [job(agent) for _ in range(10)]
    for stream in streams:
        known = dict(served.service._jobs._known)
        await first(agent, stream)
        await eventually(lambda known=known: served.service._jobs._known != known and len(served.service._jobs) >= 1)
    for stream in streams[:-1]:
        assert await agent.broken(stream) == "CANCELLED"
    assert len(served.service._jobs._known) == 1


async def test_few_job_streams_wait_for_their_first_message(served, unread, eventually, monkeypatch):
    monkeypatch.setattr(jobs, "UNKNOWN", 8)
    connection = await unread()
    for _ in range(100):
        connection.ask("Job", None, ended=False)
    await eventually(lambda: connection.stream == 199 and len(served.rpc.tasks) == 8)
    agent, _ = await served.enrolled("laptop")
    stream = job(agent)
    await first(agent, stream)
    await eventually(lambda: len(served.service._jobs._known) == 1)


async def test_a_removed_peers_job_stream_ends(served, eventually):
    agent, peer = await served.enrolled("laptop")
    stream = job(agent)
    await first(agent, stream)
    await eventually(lambda: len(served.service._jobs._known) == 1)
    await served.account.change(lambda draft: peers.delete(draft, peer.id))
    assert await agent.broken(stream) == "PERMISSION_DENIED"
    assert not len(served.service._jobs)
