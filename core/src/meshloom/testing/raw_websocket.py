"""The other side of a WebSocket, byte by byte: it sends whatever a test likes, and reads only when told."""

import asyncio
import base64
import hashlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import attrs

from meshloom.testing.transport_ground import WITHIN
from meshloom.transport import RelayAddress

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PLENTY = 64 << 20
"""Bytes after which a side that goes on taking them has no bound."""
STALLED = 250
"""Turns without a byte taken, of two milliseconds each, after which the other side reads no more."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool, claim: int | None = None) -> bytes:
    """Encodes a frame; with *claim*, one that says it is of another length."""
    size = len(payload) if claim is None else claim
    flag = 0x80 if mask else 0
    first = opcode | (0x80 if fin else 0)
    if size < 126:
        head = struct.pack(">BB", first, flag | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, flag | 126, size)
    else:
        head = struct.pack(">BBQ", first, flag | 127, size)
    return head + (bytes(4) if mask else b"") + payload


class RawWebSocket:
    """One side of a connection; made by :func:`raw_client` and :func:`raw_relay`.

    Args:
        made: A connected socket.
        masks: Whether it is the client's side, whose frames are masked.
    """

    def __init__(self, made: socket.socket, *, masks: bool) -> None:
        made.setblocking(False)
        self.socket, self._masks = made, masks
        self._read = b""

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, claim: int | None = None) -> bytes:
        """Encodes a frame as this side has to."""
        return frame(opcode, payload, fin=fin, mask=self._masks, claim=claim)

    async def send(self, data: bytes) -> None:
        """Sends bytes; silently nothing where the other side has closed."""
        try:
            await asyncio.get_running_loop().sock_sendall(self.socket, data)
        except OSError:
            return

    async def flood(self, data: bytes) -> int:
        """Sends the bytes over and over; returns how many were taken before the other side closed or read no more."""
        sent = stalled = 0
        while sent < PLENTY and stalled < STALLED:
            try:
                sent += self.socket.send(data)
            except BlockingIOError:
                stalled += 1
                await anyio.sleep(0.002)
            except OSError:
                break
            else:
                stalled = 0
                await anyio.lowlevel.checkpoint()
        return sent

    async def read_head(self) -> bytes:
        """Reads an HTTP request or answer, without its last empty line."""
        while b"\r\n\r\n" not in self._read:
            if not await self._more():
                raise ConnectionError(f"the other side closed after {self._read!r}")
        head, self._read = self._read.split(b"\r\n\r\n", 1)
        return head

    async def read_frame(self) -> tuple[int, bytes] | None:
        """Reads a frame: its opcode and payload; None where the connection ends."""
        with anyio.fail_after(WITHIN):
            while (found := self._next()) is None:
                if not await self._more():
                    return None
        return found

    async def read_to_end(self) -> list[tuple[int, bytes]]:
        """Reads the frames that come before the connection ends."""
        found = []
        while (each := await self.read_frame()) is not None:
            found.append(each)
        return found

    async def _more(self) -> bool:
        try:
            got = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
        except OSError:
            return False
        self._read += got
        return bool(got)

    def _next(self) -> tuple[int, bytes] | None:
        data = self._read
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        mask = data[at : at + 4] if data[1] & 0x80 else b""
        at += len(mask)
        if len(data) < at + size:
            return None
        payload, self._read = data[at : at + size], data[at + size :]
        if mask:
            payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        return data[0] & 0xF, payload


@asynccontextmanager
async def raw_client(address: RelayAddress, headers: str = "", *, upgrade: bool = True) -> AsyncIterator[RawWebSocket]:
    """Connects to a relay, and asks for the upgrade where *upgrade* says so."""
    with socket.socket() as made:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (address.host, address.port))
        client = RawWebSocket(made, masks=True)
        if upgrade:
            key = base64.b64encode(os.urandom(16)).decode()
            await client.send(
                f"GET /relay HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            with anyio.fail_after(WITHIN):
                head = await client.read_head()
            if not head.startswith(b"HTTP/1.1 101 "):
                raise ConnectionError(f"the relay answers {head!r}")
        yield client


@attrs.define
class RawRelay:
    """A listening socket that waits for one agent."""

    address: RelayAddress
    listening: socket.socket
    accepted: list[socket.socket] = attrs.field(factory=list)

    async def accept(self, headers: str = "", *, upgrade: bool = True) -> RawWebSocket:
        """Waits for an agent's request, and answers it where *upgrade* says so."""
        with anyio.fail_after(WITHIN):
            made, _ = await asyncio.get_running_loop().sock_accept(self.listening)
            self.accepted.append(made)
            relay = RawWebSocket(made, masks=False)
            head = await relay.read_head()
        if upgrade:
            (key,) = [line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")]
            answer = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 wants it
            await relay.send(
                f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
                f"Sec-WebSocket-Accept: {answer}\r\n\r\n".encode()
            )
        return relay


@asynccontextmanager
async def raw_relay() -> AsyncIterator[RawRelay]:
    """Listens on loopback as a relay does."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        relay = RawRelay(RelayAddress("127.0.0.1", listening.getsockname()[1], tls=False), listening)
        try:
            yield relay
        finally:
            for made in relay.accepted:
                made.close()
