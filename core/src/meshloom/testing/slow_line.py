"""A slow line for tests: what passes it by TCP or UDP arrives late, and now and then a piece is lost on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs

REPEATED_AFTER = 2.0
"""Round trips until TCP has repeated what was lost, and the rest behind it arrives (RFC 6298: at least one second)."""


@attrs.define
class SlowLine:
    """A line with a round trip of so many seconds.

    Args:
        round_trip: Seconds.
        loss: The share of pieces that are lost, from 0 to 1: datagrams for good, TCP's until they are repeated.
        random: What decides of each piece.
    """

    round_trip: float
    loss: float = 0.0
    random: Random = attrs.field(factory=lambda: Random(1))

    @asynccontextmanager
    async def tcp(self, port: int) -> AsyncIterator[int]:
        """Leads from the port that is yielded to *port* of this host, each time with TCP's own first round trip."""
        passing: list[asyncio.Future[None]] = []

        async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(self.round_trip)
            try:
                there = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            both = (reader, there[1]), (there[0], writer)
            try:
                await asyncio.gather(*(self._carry(*each) for each in both))
            finally:
                for _, end in both:
                    end.close()

        server = await asyncio.start_server(
            lambda *ends: passing.append(asyncio.ensure_future(passed(*ends))), "127.0.0.1", 0
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for each in passing:
                each.cancel()
            await asyncio.gather(*passing, return_exceptions=True)

    @asynccontextmanager
    async def udp(self, port: int) -> AsyncIterator[int]:
        """Leads from the UDP port that is yielded to *port* of this host."""
        loop = asyncio.get_running_loop()
        way = _Way(self, ("127.0.0.1", port))
        transport, _ = await loop.create_datagram_endpoint(lambda: way, local_addr=("127.0.0.1", 0))
        try:
            yield transport.get_extra_info("sockname")[1]
        finally:
            way.close()

    @property
    def is_lost(self) -> bool:
        """Decides of one piece."""
        return self.random.random() < self.loss

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            data = b"?"
            while data:
                try:
                    data = await reader.read(1 << 16)
                except OSError:
                    data = b""
                late = self.round_trip * (0.5 + REPEATED_AFTER * self.is_lost)
                pieces.put_nowait((loop.time() + late, data))

        reading = asyncio.ensure_future(read())
        try:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    writer.close()
                    return
                writer.write(data)
        finally:
            reading.cancel()


class _Way(asyncio.DatagramProtocol):
    """The near end of a way for datagrams; each source has a far end of its own."""

    def __init__(self, line: SlowLine, there: tuple[str, int]) -> None:
        self._line, self._there = line, there
        self._ends: dict[Any, asyncio.Future[asyncio.DatagramTransport]] = {}
        self._near: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._near = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr not in self._ends:
            self._ends[addr] = asyncio.ensure_future(self._far_end(addr))
        self._later(lambda: self._on(addr, data))

    def back(self, data: bytes, to: Any) -> None:
        """Sends in the other direction."""
        self._later(lambda: self._near.sendto(data, to) if self._near is not None else None)

    def close(self) -> None:
        """Ends the way, for all sources."""
        near, self._near = self._near, None
        if near is not None:
            near.close()
        for end in self._ends.values():
            if end.done():
                end.result().close()

    def _later(self, send: Callable[[], object]) -> None:
        """Sends after half a round trip, unless it is lost."""
        if not self._line.is_lost:
            asyncio.get_running_loop().call_later(self._line.round_trip / 2, send)

    def _on(self, source: Any, data: bytes) -> None:
        end = self._ends[source]
        if self._near is not None and end.done() and not end.result().is_closing():
            end.result().sendto(data)

    async def _far_end(self, source: Any) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _FarEnd(self, source), remote_addr=self._there)
        return transport


class _FarEnd(asyncio.DatagramProtocol):
    """Where one source's datagrams leave the line."""

    def __init__(self, way: _Way, source: Any) -> None:
        self._way, self._source = way, source

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        self._way.back(data, self._source)
