"""One call as its handler sees it, and which handlers there are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, Protocol

import attrs

from meshloom_front.http2.connection import ServerConnection
from meshloom_front.rpc import messages
from meshloom_front.rpc.liveness import Liveness
from meshloom_front.rpc.messages import Messages

UNREAD: Final = 64 * 1024
"""Bytes of messages that a handler may leave unread before their sender has to wait."""


class Carrier(Protocol):
    """The connection that a call came by."""

    address: str
    http2: ServerConnection
    liveness: Liveness
    is_known: bool

    def origin(self, fields: Mapping[bytes, bytes]) -> str:
        """Tell where a request comes from."""

    def flush(self) -> None:
        """Send what is to be sent."""

    def keep(self, call: "Call") -> None:
        """Count what is kept of a call's messages."""

    def count(self, call: "Call") -> None:
        """Count what a service keeps for a call."""

    def accept(self, call: "Call") -> None:
        """Let a stream stay, since its service answers it."""

    def drop(self, call: "Call") -> None:
        """End a call at once, with all that waits for the network."""

    def prove(self) -> None:
        """Whoever calls is known: the connection does not give way to strangers."""

    def spend(self, seconds: float) -> None:
        """Count CPU time that a call has cost."""


class Call:
    """A call that is open.

    Args:
        address: Of whoever calls, as far as the network and believed proxies tell; empty where they do not.
    """

    def __init__(self, carrier: Carrier, number: int, method: "Method", fields: Mapping[bytes, bytes]) -> None:
        self._carrier, self.number, self.method, self._fields = carrier, number, method, fields
        self.address = carrier.origin(fields)
        self.incoming = Messages()
        self.begun = False
        self.task: asyncio.Task[None] | None = None
        self.since = 0.0
        self.held = self.weight = self.kept = self.counted = 0
        self.accepted = False
        self._all_came = False
        self._unpaid = 0
        self._news: asyncio.Future[None] | None = None
        self._sent: asyncio.Future[None] | None = None

    def metadata(self, name: str) -> str:
        """What the caller sent along under that name, in lower case; empty where it sent nothing."""
        return self._fields.get(name.encode(), b"").decode(errors="replace")

    @property
    def is_known(self) -> bool:
        """Whether the caller, or another one by the same connection, has shown who it is."""
        return self._carrier.is_known

    @property
    def is_forwarded(self) -> bool:
        """Whether the address is one that a believed proxy has named, not the other side of the connection."""
        return self.address != self._carrier.address

    def prove(self) -> None:
        """Tells that the caller has shown who it is, by a sealed message of a registered peer or a valid token.

        Its connection then stays when others have to give way, may cost more CPU time, and counts in the larger pool of
        memory. A caller that never does so is disconnected after a minute, unless a stream of its may :meth:`stay`.
        """
        self._carrier.prove()

    @property
    def connection(self) -> object:
        """The connection that the call came by, to tell calls of one connection from those of another."""
        return self._carrier

    async def is_alive(self, within: float) -> bool:
        """Return whether the other side of the connection answers a PING within so many seconds."""
        return await self._carrier.liveness.ask(within)

    def holds(self, size: int) -> None:
        """Tells how many bytes a service keeps for this caller now, beside what was written: messages that wait.

        They count in the budget of all connections (:mod:`meshloom_front.budget`); 0 when nothing waits any more. The
        connections that hold the most end when there is too much, perhaps this one. When the call ends, they count no
        longer by themselves.
        """
        if size != self.kept:
            self.kept = size
            self._carrier.count(self)

    def reset(self) -> None:
        """Ends the call at once: what the network has not taken is dropped, and the caller is told with RST_STREAM.

        For a stream whose caller does not read and that another one has replaced. Nothing can be written afterwards,
        and whoever waits in :meth:`write` or :meth:`written` goes on. The handler itself is left to end.
        """
        self._carrier.drop(self)
        _wake(self._sent)

    def begin(self, *metadata: tuple[str, str]) -> None:
        """Begins the answer, with metadata, before there is a message."""
        self._begin(messages.answer(metadata) if metadata else messages.ANSWER)
        self._carrier.flush()

    def stay(self) -> None:
        """Lets the stream stay, and its connection, though nobody knows the caller; others end after a minute at most.

        A service does this for as many streams as it has peers, and not before something speaks for the caller.
        """
        self._carrier.accept(self)

    async def write(self, message: bytes) -> None:
        """Send a message of the answer; returns when the network has taken it.

        One writer at a time. Where it is cancelled, the message is on its way all the same; :meth:`reset` drops it.
        """
        while not self.offer(message):
            await self.written()
        await self.written()

    def offer(self, message: bytes) -> bool:
        """Send a message of the answer if none waits for the network; False where one does."""
        http2 = self._carrier.http2
        if http2.waits(self.number):
            return False
        if not self.begun:
            self._begin(messages.ANSWER)
        http2.send_data(self.number, messages.framed(message))
        self._carrier.flush()
        return True

    async def written(self) -> None:
        """Wait until the network has taken all that was written."""
        while self._carrier.http2.waits(self.number):
            self._sent = asyncio.get_running_loop().create_future()
            await self._sent

    def give_up(self) -> None:
        """Drops what the network has not taken of the answer, by a reset; nothing happens where it has taken all."""
        if self._carrier.http2.waits(self.number):
            self.reset()

    async def requests(self) -> AsyncIterator[bytes]:
        """Messages of the caller, to their end; for a handler of :attr:`Kind.BIDIRECTIONAL`."""
        while True:
            while self.incoming:
                message = self.incoming.take()
                self._carrier.keep(self)
                self._pay()
                self._carrier.flush()
                yield message
            if self._all_came:
                return
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    # For the server.

    def feed(self, data: bytes, *, ended: bool) -> None:
        """More of what the caller says.

        Raises:
            CallFailed: It is not to be taken.
        """
        self.incoming.feed(data)
        self._unpaid += len(data)
        self._pay()
        self._all_came = ended
        _wake(self._news)

    def all_sent(self) -> None:
        """The network has taken what was written."""
        _wake(self._sent)

    def _begin(self, block: bytes) -> None:
        self.begun = True
        self._carrier.http2.send_headers(self.number, block)
        if self.is_known:
            self.stay()

    def _pay(self) -> None:
        """Allow the caller to send as much again, unless too much is unread."""
        if self._unpaid and self.incoming.size <= UNREAD:
            self._carrier.http2.consumed(self.number, self._unpaid)
            self._unpaid = 0


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class Kind(Enum):
    """What a handler takes and gives."""

    PLAIN = auto()
    """A request and the call; returns the answer at once, never waiting: a function."""
    UNARY = auto()
    """A request and the call; returns the answer."""
    SERVER_STREAMING = auto()
    """A request and the call, to which it writes."""
    BIDIRECTIONAL = auto()
    """The call, from which it reads and to which it writes."""


@attrs.frozen
class Method:
    """A handler and its kind."""

    kind: Kind
    handler: Callable[..., Any]


Methods = dict[bytes, Method]


def plain(handler: Callable[[bytes, Call], bytes]) -> Method:
    """For a handler that never waits: it is called without a task of its own."""
    return Method(Kind.PLAIN, handler)


def unary(handler: Callable[[bytes, Call], Awaitable[bytes]]) -> Method:
    """For a handler that answers one request."""
    return Method(Kind.UNARY, handler)


def server_streaming(handler: Callable[[bytes, Call], Awaitable[None]]) -> Method:
    """For a handler that answers one request with many messages."""
    return Method(Kind.SERVER_STREAMING, handler)


def bidirectional(handler: Callable[[Call], Awaitable[None]]) -> Method:
    """For a handler that reads and writes many messages."""
    return Method(Kind.BIDIRECTIONAL, handler)


def service(name: str, methods: Mapping[str, Method]) -> Methods:
    """A service's methods by the paths they are called by."""
    return {f"/{name}/{method}".encode(): handler for method, handler in methods.items()}
