"""Answers binding requests over UDP, no larger and no more of them than a source needs."""

import asyncio
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import anyio
from prometheus_client import CollectorRegistry, Counter

from meshloom.protocol.stun import answer
from meshloom_front.listening import listen

_log = logging.getLogger(__name__)

PER_SECOND = 50.0
BURST = 200.0
SOURCES = 10_000
SOCKET_BUFFER = 1 << 20


class RateLimit:
    """A bucket of answers for each source address; the table is bounded, the longest unseen is forgotten."""

    def __init__(self, per_second: float = PER_SECOND, burst: float = BURST, sources: int = SOURCES) -> None:
        self._per_second, self._burst, self._sources = per_second, burst, sources
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, source: str, now: float) -> bool:
        """Whether one more may be answered now."""
        tokens, since = self._buckets.pop(source, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[source] = (tokens - 1 if allowed else tokens), now
        if len(self._buckets) > self._sources:
            self._buckets.popitem(last=False)
        return allowed


class StunProtocol(asyncio.DatagramProtocol):
    """One UDP socket."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._monotonic = RateLimit(), monotonic
        counter = Counter("meshloom_stun_datagrams", "Datagrams by what became of them", ["result"], registry=registry)
        self._answered, self._ignored, self._limited = map(counter.labels, ("answered", "ignored", "limited"))
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer with."""
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Answer a binding request; anything else is dropped without a word."""
        host = addr[0].removeprefix("::ffff:")
        response = answer(data, (host.partition("%")[0], addr[1]))
        if response is None or self._transport is None:
            self._ignored.inc()
        elif not self._limit.allows(host, self._monotonic()):
            self._limited.inc()
        else:
            self._answered.inc()
            self._transport.sendto(response, addr)


async def run_stun(port: int, registry: CollectorRegistry) -> None:
    """Answer on that UDP port of all addresses until cancelled."""
    made = listen(f":{port}", "stun_port", socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: StunProtocol(registry), sock=made)
    _log.info("STUN on UDP port %d", port)
    try:
        await anyio.sleep_forever()
    finally:
        transport.close()
