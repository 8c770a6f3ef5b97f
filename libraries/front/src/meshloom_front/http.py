"""HTTP/1.1 connections of an ASGI application: uvicorn's protocol, with bounds on what clients may keep waiting.

uvicorn leaves the size and the duration of a request to a proxy in front of it; this server may have none.
"""

import asyncio
import time
from email.utils import formatdate

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from meshloom.errors import ProtocolError

REQUEST_WITHIN = 30.0
"""Seconds in which a request must have come in whole, from its first byte on."""
LONGEST_HEAD = 64 * 1024
"""Bytes of a request's line and fields together, and of what belongs to no field yet."""


class Dates:
    """The second of the date that answers bear now."""

    second = 0


class BoundedHTTP(HttpToolsProtocol):
    """One connection: a request that is too slow or whose head is too long ends it."""

    _within = REQUEST_WITHIN
    _head = 0
    _pending = 0
    _steps = 0
    _deadline: asyncio.TimerHandle | None = None
    _unproven: dict["BoundedHTTP", None]
    _dates: "Dates"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has to ask for something."""
        self._unproven[self] = None
        super().connection_made(transport)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """More of a request; the clock runs from its first byte."""
        self._start_clock()
        before = self._steps
        super().data_received(data)
        self._pending = 0 if self._steps > before else self._pending + len(data)
        if self._pending > LONGEST_HEAD:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """No clock outlives its connection."""
        self._stop_clock()
        self._unproven.pop(self, None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request, perhaps one that follows another in the same bytes."""
        self._start_clock()
        self._head = 0
        now = int(time.time())
        if now != self._dates.second:  # RFC 9110 section 6.6.1; clients see by it that their clock is wrong
            self._dates.second = now
            self.server_state.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the address."""
        self._grow(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; also one after the body."""
        self._steps += 1
        self._grow(name, value or b"")
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Part of the body; how long that may be is the application's business."""
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._steps += 1
        self._stop_clock()
        self._unproven.pop(self, None)
        super().on_message_complete()

    def _grow(self, *parts: bytes) -> None:
        self._head += sum(map(len, parts))
        if self._head > LONGEST_HEAD:
            raise ProtocolError("the head of the request is too long")  # the parser ends with 400

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._within, self._too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self.transport.abort()


class HTTP:
    """Makes the protocol of each connection; its length is the number of those that are open."""

    def __init__(self, app: object, within: float) -> None:
        self._config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
        )
        self._config.load()
        self._state = uvicorn.server.ServerState()
        self._within = within
        self._unproven: dict[BoundedHTTP, None] = {}
        self._dates = Dates()

    def __len__(self) -> int:
        return len(self._state.connections)

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        made = BoundedHTTP(config=self._config, server_state=self._state, app_state={})
        made._within, made._unproven = self._within, self._unproven  # noqa: SLF001 - uvicorn's constructor takes no more
        made._dates = self._dates  # noqa: SLF001
        return made

    def end_oldest(self) -> bool:
        """End the oldest connection on which no request has come in whole yet; False where there is none."""
        for oldest in self._unproven:
            del self._unproven[oldest]
            oldest.transport.abort()
            return True
        return False


def http_protocol(app: object, within: float = REQUEST_WITHIN) -> HTTP:
    """HTTP/1.1 for an ASGI application; a request must be in whole *within* so many seconds."""
    return HTTP(app, within)
