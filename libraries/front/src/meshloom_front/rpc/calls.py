"""The open calls of one connection: how they begin, are fed, handled and ended."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from meshloom_front.costs import Steps
from meshloom_front.http2.events import DataCame, RequestCame
from meshloom_front.http2.frames import Code
from meshloom_front.rpc import messages
from meshloom_front.rpc.call import Call, Carrier, Kind, Method, Methods
from meshloom_front.rpc.status import CallFailed, Status

_log = logging.getLogger(__name__)

REQUEST_WITHIN: Final = 30.0
"""Seconds in which a request must have come in whole."""
STREAM_WITHIN: Final = 30.0
"""Seconds in which something must come on a stream of an unknown caller that its service accepts."""
HELD: Final = 4 << 20
"""Bytes of requests of one connection that have not come in whole, or that nobody has read."""
CALL_TAKES: Final = 10 * 1024
"""Bytes that an open call takes beside its messages, about: its task and what that waits for take most of them."""
STREAMING: Final = (Kind.BIDIRECTIONAL, Kind.SERVER_STREAMING)


class Calls:
    """Calls of one connection.

    Attributes:
        held: Bytes of messages that have not come in whole or that nobody has read.
        weight: Bytes that the calls take, with these and with what services keep for them.
        accepted: Tells that a service has accepted a stream (1), or that such a stream has ended (-1).
    """

    def __init__(
        self,
        carrier: Carrier,
        methods: Methods,
        tasks: set[asyncio.Task[None]],
        accepted: Callable[[int], None],
    ) -> None:
        self._carrier, self._methods, self._tasks, self._accepted = carrier, methods, tasks, accepted
        self._http2 = carrier.http2
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, Call] = {}
        self._late: asyncio.TimerHandle | None = None
        self.held = 0
        self.weight = 0

    def __len__(self) -> int:
        return len(self._open)

    def request(self, event: RequestCame) -> None:
        """Begins a call."""
        fields = event.fields
        kind = fields.get(b"content-type", b"")
        if fields[b":method"] != b"POST" or kind[: len(messages.CONTENT)] != messages.CONTENT:
            self._http2.end(event.stream, messages.NO_GRPC)
            return
        method = self._methods.get(fields[b":path"])
        if method is None:
            text = f"there is no method {fields[b':path'][:200].decode(errors='replace')}"
            self._http2.end(event.stream, messages.failure(Status.UNIMPLEMENTED, text, begun=False))
            return
        call = self._open[event.stream] = Call(self._carrier, event.stream, method, fields)
        call.weight = CALL_TAKES + event.size
        self.weight += call.weight
        if method.kind is Kind.BIDIRECTIONAL:
            self._start(call, call)
            self._wait_for(call)
        elif not event.ended:
            self._wait_for(call)
        if event.ended:
            self._feed(call, b"", ended=True)

    def body(self, event: DataCame) -> None:
        """Feeds a call."""
        if (call := self._open.get(event.stream)) is not None:
            self._feed(call, event.data, ended=event.ended)

    def sent(self, number: int) -> None:
        """Tells a call that the network has taken all it wrote."""
        if (call := self._open.get(number)) is not None:
            call.all_sent()

    def keep(self, call: Call) -> None:
        """Counts what is kept of a call's messages, and what its service keeps for it."""
        if call.number in self._open:
            held = call.incoming.held
            self.held += held - call.held
            self.weight += held - call.held + call.kept - call.counted
            call.held, call.counted = held, call.kept

    def accept(self, call: Call) -> None:
        """Lets a stream stay, since its service answers it."""
        if not call.accepted and call.method.kind in STREAMING and call.number in self._open:
            call.accepted = True
            self._accepted(1)

    def drop(self, call: Call) -> None:
        """Ends a call at once, with all that waits for the network."""
        if self._over(call.number) is not None:
            self._http2.reset(call.number, Code.CANCEL)

    def end(self, number: int) -> None:
        """Ends a call that the other side has taken back."""
        call = self._over(number)
        if call is not None and call.task is not None:
            call.task.cancel()

    def end_all(self) -> None:
        """Ends all, since nobody waits for them."""
        if self._late is not None:
            self._late.cancel()
        for number in list(self._open):
            self.end(number)

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
            if self.held > HELD:
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
        known = self._carrier.is_known
        task = call.task = self._loop.create_task(self._run(call, arguments) if known else self._timed(call, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _timed(self, call: Call, arguments: tuple[bytes | Call, ...]) -> None:
        """As :meth:`_run`, while the caller has to pay for the time that this takes."""
        await Steps(partial(self._run, call, arguments), self._carrier)

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
            self._carrier.flush()

    def _answer(self, call: Call, message: bytes | None) -> None:
        number = call.number
        if self._over(number) is None:
            return
        if message is None:
            self._http2.end(number, messages.OK if call.begun else messages.ANSWER + messages.OK)
            return
        if not call.begun:
            self._http2.send_headers(number, messages.ANSWER)
        self._http2.send_data(number, messages.framed(message))
        self._http2.end(number, messages.OK)

    def _fail(self, call: Call, failure: CallFailed) -> None:
        if self._over(call.number) is None:
            return
        if call.task is not None and call.task is not asyncio.current_task():
            call.task.cancel()
        self._http2.end(call.number, messages.failure(failure.status, str(failure), begun=call.begun))

    def _over(self, number: int) -> Call | None:
        """Removes a call from the open ones; None where it was not one."""
        call = self._open.pop(number, None)
        if call is not None:
            self.held -= call.held
            self.weight -= call.weight + call.held + call.counted
            if call.accepted:
                self._accepted(-1)
        return call

    # Requests that come in pieces, and streams on which nothing comes.

    def _wait_for(self, call: Call) -> None:
        """Looks at the call again after a while."""
        call.since = self._loop.time()
        if self._late is None:
            self._late = self._loop.call_later(min(REQUEST_WITHIN, STREAM_WITHIN), self._look_for_late)

    def _look_for_late(self) -> None:
        self._late = None
        now = self._loop.time()
        for call in list(self._open.values()):
            if call.task is None and now - call.since >= REQUEST_WITHIN:
                self._fail(call, CallFailed(Status.DEADLINE_EXCEEDED, "the request did not come in whole"))
            elif self._is_unheard(call) and now - call.since >= STREAM_WITHIN:
                self._fail(call, CallFailed(Status.DEADLINE_EXCEEDED, "nothing came that shows who calls"))
        if any(call.task is None or self._is_unheard(call) for call in self._open.values()):
            self._late = self._loop.call_later(min(REQUEST_WITHIN, STREAM_WITHIN), self._look_for_late)
        self._carrier.flush()

    def _is_unheard(self, call: Call) -> bool:
        return call.method.kind is Kind.BIDIRECTIONAL and not call.accepted and not self._carrier.is_known


def _internal(error: Exception) -> CallFailed:
    """What a fault of a handler is to whoever called; what it really was is in the log."""
    _log.error("a call failed", exc_info=error)
    return CallFailed(Status.INTERNAL, "internal error")
