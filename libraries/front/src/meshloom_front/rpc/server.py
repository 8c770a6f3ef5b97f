"""The gRPC server: a protocol for each connection, a call for each of its streams."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from meshloom_front.http2.connection import ServerConnection
from meshloom_front.http2.events import DataCame, RequestCame
from meshloom_front.http2.frames import HTTP2Error
from meshloom_front.rpc import messages
from meshloom_front.rpc.call import Call, Kind, Method, Methods
from meshloom_front.rpc.liveness import Liveness
from meshloom_front.rpc.status import CallFailed, Status

_log = logging.getLogger(__name__)

KEEPALIVE: Final = 60.0
"""Seconds of silence after which the other side is asked whether it is there."""
ANSWERS_WITHIN: Final = 20.0
"""Seconds it has to say so."""
REQUEST_WITHIN: Final = 30.0
"""Seconds in which a request must have come in whole."""
HELD: Final = 4 << 20
"""Bytes of requests of one connection that have not come in whole, or that nobody has read."""
UNSENT: Final = 1 << 20
"""Bytes that may wait for a reader that makes us answer and does not read."""


class RPC:
    """Makes the protocol of each connection; its length is the number of those that are open."""

    def __init__(self, services: Iterable[Methods]) -> None:
        self.methods: Methods = {path: method for service in services for path, method in service.items()}
        self.unproven: dict[Connection, None] = {}
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self.connections)

    def __call__(self) -> "Connection":
        """The protocol of a new connection."""
        return Connection(self)

    def end_oldest(self) -> bool:
        """End the oldest connection by which nothing was called yet; False where there is none."""
        for oldest in self.unproven:
            oldest.abort()
            return True
        return False

    async def stop(self, grace: float) -> None:
        """Take no more calls, and close; those that are open have *grace* seconds to end by themselves."""
        for connection in list(self.connections):
            connection.go_away()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        for connection in list(self.connections):
            connection.close()


class Connection(asyncio.Protocol):
    """One connection of gRPC."""

    def __init__(self, rpc: RPC) -> None:
        self._rpc = rpc
        self.http2 = ServerConnection()
        self.address = ""
        self.liveness = Liveness(self._ask)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._held = 0
        self._paused = self._heard = False
        self._alive: asyncio.TimerHandle | None = None
        self._coming: asyncio.TimerHandle | None = None

    # The network.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we allow."""
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._rpc.connections.add(self)
        self._rpc.unproven[self] = None
        self._alive = self._loop.call_later(KEEPALIVE, self._look)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Frames; calls begin and go on."""
        self._heard = True
        self.liveness.heard()
        try:
            events = self.http2.receive(data)
        except HTTP2Error as error:
            _log.debug("a connection of %s ends: %s", self.address, error)
            self.flush()
            self.close()
            return
        for event in events:
            if type(event) is DataCame:
                self._body(event)
            elif type(event) is RequestCame:
                self._request(event)
            else:
                self._taken_back(event.stream)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Nobody waits for the calls."""
        self.liveness.lost()
        self._rpc.connections.discard(self)
        self._rpc.unproven.pop(self, None)
        for timer in (self._alive, self._coming):
            if timer is not None:
                timer.cancel()
        for number in list(self._calls):
            self._taken_back(number)

    def pause_writing(self) -> None:
        """The other side reads slowly: calls wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent, as far as the network takes it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        while True:
            data, sent = self.http2.take(bodies=not self._paused)
            for number in sent:
                if (call := self._calls.get(number)) is not None:
                    call.all_sent()
            if not data:
                return
            transport.write(data)
            if self._paused and transport.get_write_buffer_size() > UNSENT:
                transport.abort()
                return

    def keep(self, call: Call) -> None:
        """Count what is kept of a call's messages."""
        if call.number in self._calls:
            held = call.incoming.held
            self._held += held - call.held
            call.held = held

    def prove(self) -> None:
        """Whoever calls is known."""
        self._rpc.unproven.pop(self, None)

    def go_away(self) -> None:
        """Take no more calls."""
        self.http2.go_away()
        self.flush()

    def close(self) -> None:
        """Close, when what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._rpc.unproven.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

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

    # Calls.

    def _request(self, event: RequestCame) -> None:
        fields = event.fields
        kind = fields.get(b"content-type", b"")
        if fields[b":method"] != b"POST" or kind[: len(messages.CONTENT)] != messages.CONTENT:
            self.http2.end(event.stream, messages.NO_GRPC)
            return
        self._rpc.unproven.pop(self, None)
        method = self._rpc.methods.get(fields[b":path"])
        if method is None:
            text = f"there is no method {fields[b':path'][:200].decode(errors='replace')}"
            self.http2.end(event.stream, messages.failure(Status.UNIMPLEMENTED, text, begun=False))
            return
        call = self._calls[event.stream] = Call(self, event.stream, method, fields)
        if method.kind is Kind.BIDIRECTIONAL:
            self._start(call, call)
        elif not event.ended:
            self._wait_for(call)
        if event.ended:
            self._feed(call, b"", ended=True)

    def _body(self, event: DataCame) -> None:
        if (call := self._calls.get(event.stream)) is not None:
            self._feed(call, event.data, ended=event.ended)

    def _feed(self, call: Call, data: bytes, *, ended: bool) -> None:
        try:
            call.feed(data, ended=ended)
            if ended and call.method.kind is not Kind.BIDIRECTIONAL:
                message = call.incoming.only()
                if call.held:
                    self.keep(call)
                self._handle(call, call.method, message)
                return
            self.keep(call)
            if self._held > HELD:
                raise CallFailed(Status.RESOURCE_EXHAUSTED, "too much is sent at once: send it again later")
        except CallFailed as failure:
            self._fail(call, failure)

    def _handle(self, call: Call, method: Method, message: bytes) -> None:
        if method.kind is not Kind.PLAIN:
            self._start(call, message, call)
            return
        try:
            answer = method.handler(message, call)
        except CallFailed:
            raise
        except Exception as error:
            raise _internal(error) from error
        self._answer(call, answer)

    def _start(self, call: Call, *arguments: bytes | Call) -> None:
        task = call.task = self._loop.create_task(self._run(call, arguments))
        self._rpc.tasks.add(task)
        task.add_done_callback(self._rpc.tasks.discard)

    async def _run(self, call: Call, arguments: tuple[bytes | Call, ...]) -> None:
        try:
            self._answer(call, await call.method.handler(*arguments))
        except CallFailed as failure:
            self._fail(call, failure)
        except asyncio.CancelledError:
            self._fail(call, CallFailed(Status.UNAVAILABLE, "the server is stopping: connect again"))
            raise
        except Exception as error:  # noqa: BLE001 - whoever calls is told, whatever it is
            self._fail(call, _internal(error))
        finally:
            self.flush()

    def _answer(self, call: Call, message: bytes | None) -> None:
        number = call.number
        if self._over(number) is None:
            return
        if message is None:
            self.http2.end(number, messages.OK if call.begun else messages.ANSWER + messages.OK)
            return
        if not call.begun:
            self.http2.send_headers(number, messages.ANSWER)
        self.http2.send_data(number, messages.framed(message))
        self.http2.end(number, messages.OK)

    def _fail(self, call: Call, failure: CallFailed) -> None:
        if self._over(call.number) is None:
            return
        if call.task is not None and call.task is not asyncio.current_task():
            call.task.cancel()
        self.http2.end(call.number, messages.failure(failure.status, str(failure), begun=call.begun))

    def _taken_back(self, number: int) -> None:
        call = self._over(number)
        if call is not None and call.task is not None:
            call.task.cancel()

    def _over(self, number: int) -> Call | None:
        """The call, which is none of the open ones any more; None where it was not."""
        call = self._calls.pop(number, None)
        if call is not None:
            self._held -= call.held
        return call

    # Requests that come in pieces.

    def _wait_for(self, call: Call) -> None:
        """It must have come in whole some time."""
        call.since = self._loop.time()
        if self._coming is None:
            self._coming = self._loop.call_later(REQUEST_WITHIN, self._look_for_late)

    def _look_for_late(self) -> None:
        self._coming = None
        now = self._loop.time()
        coming = [call for call in self._calls.values() if call.task is None]
        for call in coming:
            if now - call.since >= REQUEST_WITHIN:
                self._fail(call, CallFailed(Status.DEADLINE_EXCEEDED, "the request did not come in whole"))
        if any(call.number in self._calls for call in coming):
            self._coming = self._loop.call_later(REQUEST_WITHIN, self._look_for_late)
        self.flush()


def _internal(error: Exception) -> CallFailed:
    """What a fault of a handler is to whoever called; what it really was is in the log."""
    _log.error("a call failed", exc_info=error)
    return CallFailed(Status.INTERNAL, "internal error")
