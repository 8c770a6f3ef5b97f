"""A gRPC server on a socket of its own, and a channel to it."""

import asyncio
import contextlib

import anyio
import grpc
import pytest

from meshloom_front.http2 import frames
from meshloom_front.http2.headers import encode
from meshloom_front.rpc.call import service
from meshloom_front.rpc.messages import framed
from meshloom_front.rpc.server import RPC

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


class Served:
    """An open server, the address of its socket, and what went wrong in the event loop."""

    def __init__(self, rpc, path):
        self.rpc, self.path, self.clients = rpc, path, []

    def channel(self):
        return grpc.aio.insecure_channel(f"unix:{self.path}", options=OPTIONS)

    async def raw(self, **settings):
        """A client that speaks frame by frame."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        client = Raw(reader, writer)
        self.clients.append(client)
        client.say(frames.PREFACE, frames.settings({getattr(frames, name): n for name, n in settings.items()}))
        return client


class Raw:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def say(self, *said):
        self.writer.write(b"".join(said))

    @staticmethod
    def frame(kind, flags=0, stream=0, payload=b""):
        return frames.head(kind, flags, stream, len(payload)) + payload

    def call(self, stream, method, message=None, *, ended=True, content=b"application/grpc"):
        """Frames of a request, with its message where it is given."""
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/t.T/" + method),
            (b"content-type", content),
        ]
        head = self.frame(frames.HEADERS, frames.END_HEADERS, stream, encode(fields))
        body = b"" if message is None else framed(message)
        return head + self.frame(frames.DATA, frames.END_STREAM if ended else 0, stream, body)

    async def hear(self, kind, stream=None):
        """The payload of the next such frame."""
        with anyio.fail_after(5):
            while True:
                head = await self.reader.readexactly(frames.HEAD)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == kind and stream in (None, int.from_bytes(head[5:], "big")):
                    return payload

    async def ends(self):
        """Until the connection does."""
        with anyio.fail_after(5), contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


@pytest.fixture
async def serve(tmp_path):
    """Opens a server with these methods of ``t.T``; nothing may escape into the event loop."""
    escaped, opened = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: escaped.append(context))

    async def start(**methods):
        rpc = RPC([service("t.T", methods)])
        path = tmp_path / f"grpc{len(opened)}"
        server = await asyncio.get_running_loop().create_unix_server(rpc, path)
        opened.append((server, Served(rpc, path)))
        return opened[-1][1]

    yield start
    for server, served in opened:
        server.close()
        for client in served.clients:
            client.writer.transport.abort()
            await client.ends()
        await served.rpc.stop(grace=1)
        await until(lambda rpc=served.rpc: not len(rpc) and not rpc.tasks)
        callers = served.rpc.callers
        assert (len(callers), len(callers.new), len(callers.accepted)) == (0, 0, 0)
        assert (callers.budget.strangers.size, callers.budget.known.size) == (0, 0)
    assert escaped == []


async def until(condition):
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.002)


@pytest.fixture
def eventually():
    """Waits for a condition."""
    return until
