"""The protocol of one gRPC connection: what the network gives and takes, and what that may cost."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from meshloom_front.callers import Caller, Callers, address_of
from meshloom_front.costs import CONNECTION_TAKES
from meshloom_front.forwarded import HEADER
from meshloom_front.http2.connection import STREAMS, ServerConnection
from meshloom_front.http2.events import DataCame, RequestCame
from meshloom_front.http2.frames import HTTP2Error
from meshloom_front.incoming import Incoming
from meshloom_front.reading import Reading
from meshloom_front.rpc.call import Call, Methods
from meshloom_front.rpc.calls import Calls
from meshloom_front.rpc.liveness import Liveness

_log = logging.getLogger(__name__)

KEEPALIVE: Final = 60.0
"""Seconds of silence after which the other side is asked whether it is there."""
ANSWERS_WITHIN: Final = 20.0
"""Seconds it has to say so."""
STREAMS_OF_STRANGERS: Final = 100
"""Requests that may be open at once while nobody knows the caller."""
UNSENT: Final = 1 << 20
"""Bytes that may wait for a reader that makes us answer and does not read."""
PROVOKED: Final = 16 * 1024
"""Bytes of them after which nothing more is read that would have to be answered."""
AFTER_GOING: Final = 30.0
"""Seconds that calls have to end in where their caller has not shown who it is in time."""


class Server(Protocol):
    """What all connections share."""

    callers: Callers
    methods: Methods
    connections: set["Connection"]
    tasks: set[asyncio.Task[None]]


class Connection(asyncio.Protocol):
    """One connection of gRPC."""

    def __init__(self, server: Server, caller: Caller | None = None) -> None:
        self._server, self._given = server, caller
        self.http2 = ServerConnection(streams=STREAMS_OF_STRANGERS)
        self.address = ""
        self.is_known = False
        self.liveness = Liveness(self._ask)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.calls = Calls(self, server.methods, server.tasks, self._accepted)
        self._paused = self._heard = False
        self._provoked = 0
        self._alive: asyncio.TimerHandle | None = None
        self._proof: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None

    def origin(self, fields: Mapping[bytes, bytes]) -> str:
        """Tell where a request comes from."""
        address = self._caller.origin(fields.get(HEADER, b""), alone=not len(self.calls))
        if self.is_known and not self._caller.proven:
            self.is_known = False
            if self._proof is not None:
                self._proof.cancel()
            self._look_for_proof()
        return address

    # The network.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we allow."""
        self._transport = transport  # type: ignore[assignment]
        self.address = address_of(transport)
        self._server.connections.add(self)
        if self._given is not None:
            self._caller = self._given
            self._caller.hand_over(self._measure, self.abort)
        else:
            self._caller = Caller(self._server.callers, self.address, CONNECTION_TAKES, self._measure, self.abort)
        self._incoming = Incoming(transport, self._caller, self._receive)  # type: ignore[arg-type]
        self._alive = self._loop.call_later(KEEPALIVE, self._look)
        self._proof = self._loop.call_later(self._caller.left(), self._look_for_proof)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Frames; calls begin and go on."""
        self._heard = True
        self.liveness.heard()
        self._incoming.came(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Nobody waits for the calls."""
        self.liveness.lost()
        self._server.connections.discard(self)
        for timer in (self._alive, self._proof, self._closing):
            if timer is not None:
                timer.cancel()
        self._incoming.close()
        self.calls.end_all()
        self._caller.gone()
        self.http2.forget()

    def pause_writing(self) -> None:
        """The other side reads slowly: calls wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused, self._heard, self._provoked = False, True, 0
        self.liveness.heard()
        self._incoming.reading.release(Reading.UNSENT)
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent, as far as the network takes it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        while True:
            paused = self._paused
            data, sent = self.http2.take(bodies=not paused)
            for number in sent:
                self.calls.sent(number)
            if not data:
                break
            transport.write(data)
            if self._paused and transport.get_write_buffer_size() > UNSENT:
                transport.abort()
                return
            if paused:
                self._provoked += len(data)
                if self._provoked > PROVOKED:
                    self._incoming.reading.hold(Reading.UNSENT)
        self._caller.held.set(self._measure())

    def keep(self, call: Call) -> None:
        """Count what is kept of a call's messages."""
        self.calls.keep(call)

    def count(self, call: Call) -> None:
        """Count what a service keeps for a call."""
        self.calls.keep(call)
        self._caller.held.set(self._measure())

    def accept(self, call: Call) -> None:
        """Let a stream stay, since its service answers it."""
        self.calls.accept(call)

    def drop(self, call: Call) -> None:
        """End a call at once, with all that waits for the network."""
        self.calls.drop(call)
        self.flush()

    def prove(self) -> None:
        """Whoever calls is known."""
        if not self.is_known and self._transport is not None:
            self.is_known = True
            self._incoming.prove()
            self.http2.allow_streams(STREAMS)

    def spend(self, seconds: float) -> None:
        """Let the other side wait where it has cost too much."""
        self._incoming.spend(seconds)

    def go_away(self) -> None:
        """Take no more calls."""
        self.http2.go_away()
        self.flush()

    def close(self) -> None:
        """Close, when what was written has been sent, or after a while."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._closing = self._loop.call_later(ANSWERS_WITHIN, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _receive(self, data: bytes) -> None:
        try:
            events = self.http2.receive(data)
        except HTTP2Error as error:
            _log.debug("a connection of %s ends: %s", self.address, error)
            self._incoming.drop()
            self.flush()
            self.close()
            return
        for event in events:
            if type(event) is DataCame:
                self.calls.body(event)
            elif type(event) is RequestCame:
                self.calls.request(event)
            else:
                self.calls.end(event.stream)
        self.flush()

    def _measure(self) -> int:
        """Bytes that this process holds for the other side."""
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return unsent + self._incoming.held + self.http2.held + self.calls.weight

    def _accepted(self, change: int) -> None:
        if change > 0:
            self._caller.accept()
            return
        self._caller.release()
        if self._proof is not None and not self._caller.accepted:
            self._proof.cancel()
            self._look_for_proof()

    # How long it may go on.

    def _look_for_proof(self) -> None:
        """Whether the other side has shown who it is, or has a stream that a service accepts."""
        self._proof = None
        if self.is_known:
            return
        left = self._caller.left()
        if left <= 0:
            self.go_away()
            if len(self.calls):
                self._proof = self._loop.call_later(AFTER_GOING, self.abort)
            else:
                self.close()
            return
        self._proof = self._loop.call_later(min(left, KEEPALIVE), self._look_for_proof)

    def _look(self) -> None:
        """Whether the other side is still there."""
        if self._heard:
            self._heard = False
            self._alive = self._loop.call_later(KEEPALIVE, self._look)
            return
        self._ask()
        self._alive = self._loop.call_later(ANSWERS_WITHIN, self._look_again)

    def _ask(self) -> None:
        self.http2.ping()
        self.flush()

    def _look_again(self) -> None:
        if self._heard:
            self._look()
        else:
            self.abort()
