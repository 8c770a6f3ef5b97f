"""A relay's connections by WebSocket come from where the request says that goes before them."""

import asyncio

import anyio
import pytest

from meshloom.testing.transport_ground import Heard, until
from meshloom.transport import TransportContext
from meshloom_front.forwarded import LOOPBACK, Proxies
from meshloom_transport_picows import meshloom_transports as picows
from meshloom_transport_websocket import meshloom_transports as websockets

pytestmark = pytest.mark.anyio
UPGRADE = (
    "GET /relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
PROXIES = Proxies(LOOPBACK)


def believing(address, said):
    return PROXIES.origin(address, said.encode())


@pytest.mark.parametrize("transports", [picows, websockets], ids=["picows", "websocket"])
@pytest.mark.parametrize(
    ("fields", "origin", "remote"),
    [
        ((), believing, "127.0.0.1"),
        (("198.51.100.9, 192.0.2.1",), believing, "192.0.2.1"),
        (("198.51.100.9", "192.0.2.1"), believing, "192.0.2.1"),
        (("192.0.2.1",), None, "127.0.0.1"),
    ],
)
async def test_a_connection_comes_from_where_a_believed_proxy_says(transports, fields, origin, remote):
    accepted = []
    (backend,) = transports()
    context = TransportContext() if origin is None else TransportContext(origin=origin)
    async with backend.open(backend.options(), context) as transport:
        protocol = transport.stream_protocol(lambda connection: accepted.append(connection) or Heard())
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write((UPGRADE + "".join(f"X-Forwarded-For: {each}\r\n" for each in fields) + "\r\n").encode())
        with anyio.fail_after(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        await until(lambda: accepted)
        assert accepted[0].remote[0] == remote
        writer.close()
        server.close()
