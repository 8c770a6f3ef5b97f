"""HTTP/1.1 connections of an ASGI application: uvicorn's protocol, with bounds on what clients may keep waiting.

uvicorn leaves the size and the duration of a request to a proxy in front of it; this server may have none.
"""

import asyncio
import time
from collections import deque
from email.utils import formatdate
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from meshloom.errors import ProtocolError
from meshloom_front.callers import Caller, Callers, address_of
from meshloom_front.costs import CONNECTION_TAKES, Steps
from meshloom_front.forwarded import HEADER
from meshloom_front.incoming import Incoming
from meshloom_front.reading import Reading

REQUEST_WITHIN: Final = 30.0
"""Seconds in which a request must have come in whole, from its first byte on."""
LONGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's line and fields together, and of what belongs to no field yet."""
PIPELINED: Final = 64
"""Requests that may wait for the answer to the one before; no client of today sends a second one."""
REQUEST_TAKES: Final = 4096
"""Bytes that a request takes here beside its text, about."""
FIELD_TAKES: Final = 220
"""Bytes that a field takes here beside its text, about."""
LAST_TAKES: Final = 5 << 10
"""Bytes that are kept of the last request until there is another one, about."""
STANDS_STILL: Final = 60.0
"""Seconds after which a connection ends on which nothing moves though the other side could read or ask."""
PROVE: Final = "meshloom.prove"
"""In ``scope["extensions"]``: what an application calls when a valid token has shown who the caller is."""


class Dates:
    """The second of the date that answers bear now."""

    second = 0


class BoundedHTTP(HttpToolsProtocol):
    """One connection: a request that is too slow or whose head is too long ends it."""

    address = ""
    _within = REQUEST_WITHIN
    _head = 0
    _pending = 0
    _steps = 0
    _kept = 0
    _moved = 0
    _ended = False
    _deadline: asyncio.TimerHandle | None = None
    _alive: asyncio.TimerHandle | None = None
    _given: Caller | None
    _caller: Caller
    _callers: Callers
    _dates: "Dates"
    _incoming: Incoming
    _requests: deque[int]

    @property
    def is_known(self) -> bool:
        """Whether the caller has shown who it is."""
        return self._caller.proven

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has to ask for something."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._requests = deque()
        self.app = partial(_paced, self.app, self)
        if self._given is not None:
            self._caller = self._given
            self._caller.hand_over(self._measure, self.transport.abort)
        else:
            address = address_of(transport)
            self._caller = Caller(self._callers, address, CONNECTION_TAKES, self._measure, self.transport.abort)
        self._incoming = Incoming(self.transport, self._caller, self._parse)
        self.flow = Flow(self.transport, self._incoming.reading)
        self._alive = self.loop.call_later(STANDS_STILL, self._look, -1)

    def data_received(self, data: bytes) -> None:
        """More of a request; the clock runs from its first byte."""
        self._start_clock()
        self._moved += 1
        self._unset_keepalive_if_required()  # it has asked for something, though that may wait for its turn
        self._incoming.came(data)

    def _parse(self, data: bytes) -> None:
        before = self._steps
        super().data_received(data)
        self._pending = 0 if self._steps > before else self._pending + len(data)
        if self._pending > LONGEST_HEAD:
            self.transport.abort()
        self._count()
        self._close_if_over()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's never goes on
        """The other side sends no more; what it has asked for before is answered."""
        self._ended = True
        return not self._is_over()

    def connection_lost(self, exc: Exception | None) -> None:
        """No clock outlives its connection."""
        self._stop_clock()
        if self._alive is not None:
            self._alive.cancel()
        self._incoming.close()
        self._caller.gone()
        super().connection_lost(exc)
        # what leads back here would be kept until that is found, and a long head with it
        self.app, self.headers = None, []
        self.scope = {}  # type: ignore[typeddict-item]

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        super().pause_writing()
        self._count()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._moved += 1
        self._count()

    def send_400_response(self, msg: str) -> None:
        """The request is not one."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A request, perhaps one that follows another in the same bytes."""
        if len(self._requests) >= PIPELINED:
            self.transport.abort()
            raise ProtocolError("too many requests at once")
        self._start_clock()
        self._head = 0
        self._requests.append(0)
        self._keep(REQUEST_TAKES)
        now = int(time.time())
        if now != self._dates.second:  # RFC 9110 section 6.6.1; clients see by it that their clock is wrong
            self._dates.second = now
            self.server_state.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]
        super().on_message_begin()
        extensions: dict[str, Any] = {PROVE: self.prove}
        self.scope["extensions"] = extensions

    def on_url(self, url: bytes) -> None:
        """Part of the address."""
        self._grow(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; also one after the body."""
        self._steps += 1
        self._grow(name, value or b"")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The application is told where the request comes from, past proxies that are believed."""
        version = self.parser.get_http_version()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if version < "1.0" or hosts > 1 or (version >= "1.1" and not hosts):
            raise ProtocolError("a request has a version and one host")  # RFC 9112 sections 3 and 3.2
        said = b",".join(value for name, value in self.headers if name == HEADER)
        address = self._caller.origin(said, alone=len(self._requests) == 1)
        if said and self.client is not None and address != self.client[0]:
            self.scope["client"] = (address, 0)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of the body; how long that may be is the application's business."""
        self._steps += 1
        self._keep(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._steps += 1
        self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """What was kept of the oldest request is not any more."""
        if self._requests:
            self._kept -= self._requests.popleft()
        if not self._requests:
            self.cycle.body = bytearray()  # what nobody has read of a request that is answered
            self.headers, self.scope, self.cycle.scope = [], {}, {}  # type: ignore[typeddict-item]
        self._moved += 1
        self._count()
        super().on_response_complete()
        self._close_if_over()

    def prove(self) -> None:
        """The caller has shown who it is, by a valid token."""
        self._incoming.prove()

    def spend(self, seconds: float) -> None:
        """Let the other side wait where it has cost too much."""
        self._incoming.spend(seconds)

    def _is_over(self) -> bool:
        """Whether nothing is to be answered any more: the newest request may never be whole."""
        return not self._incoming.held and len(self._requests) <= (self._deadline is not None)

    def _close_if_over(self) -> None:
        if self._ended and self._is_over() and not self.transport.is_closing():
            self.transport.close()

    def _keep(self, size: int) -> None:
        """Count what is kept of the newest request, until it is answered."""
        if self._requests:
            self._requests[-1] += size
            self._kept += size

    def _count(self) -> None:
        self._caller.held.set(self._measure())

    def _measure(self) -> int:
        """Bytes that this process holds for the other side."""
        return LAST_TAKES + self._kept + self._incoming.held + self.transport.get_write_buffer_size()

    def _grow(self, *parts: bytes) -> None:
        size = sum(map(len, parts))
        self._head += size
        self._keep(size + FIELD_TAKES)
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

    def _look(self, moved: int) -> None:
        """Whether anything has moved; a connection at which the other side reads nothing any more ends."""
        unsent = self.transport.get_write_buffer_size()
        if moved == self._moved and (unsent or not self._requests):
            self.transport.abort()
        self._alive = self.loop.call_later(STANDS_STILL, self._look, self._moved)


class Flow(FlowControl):
    """uvicorn's flow control, with one more reason not to read: what is to be sent waits."""

    def __init__(self, transport: asyncio.Transport, reading: Reading) -> None:
        super().__init__(transport)
        self._reading = reading

    def pause_reading(self) -> None:
        """The application does not take what came."""
        self.read_paused = True
        self._reading.hold(Reading.UNREAD)

    def resume_reading(self) -> None:
        """It does."""
        self.read_paused = False
        self._reading.release(Reading.UNREAD)

    def pause_writing(self) -> None:
        """The other side does not take what is to be sent."""
        super().pause_writing()
        self._reading.hold(Reading.UNSENT)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        self._reading.release(Reading.UNSENT)


async def _paced(app: Any, payer: BoundedHTTP, scope: Any, receive: Any, send: Any) -> None:
    """Runs the application for a caller who has to pay for the time that this takes, unless it is known."""
    await Steps(partial(app, scope, receive, send), payer)


class HTTP:
    """Makes the protocol of each connection; its length is the number of those that are open.

    Attributes:
        callers: Whom the connections belong to; a port that serves more than HTTP puts its own here.
    """

    def __init__(self, app: object, within: float) -> None:
        self._config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            proxy_headers=False,  # it believes every proxy that an environment variable names
        )
        self._config.load()
        self._state = uvicorn.server.ServerState()
        self._within = within
        self._dates = Dates()
        self.callers = Callers()

    def __len__(self) -> int:
        return len(self._state.connections)

    def __call__(self, caller: Caller | None = None) -> asyncio.Protocol:
        """The protocol of a new connection, which may have been counted already."""
        made = BoundedHTTP(config=self._config, server_state=self._state, app_state={})
        # uvicorn's constructor takes no more
        made._within, made._dates = self._within, self._dates  # noqa: SLF001
        made._callers, made._given = self.callers, caller  # noqa: SLF001
        return made


def http_protocol(app: object, within: float = REQUEST_WITHIN) -> HTTP:
    """HTTP/1.1 for an ASGI application; a request must be in whole *within* so many seconds."""
    return HTTP(app, within)
