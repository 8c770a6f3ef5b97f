"""The bus of a service that runs as one process: subscribers in memory."""

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
from anyio import Event
from anyio.lowlevel import cancel_shielded_checkpoint

from meshloom.backend import Backend
from meshloom.bus import Bus, BusContext, Missed
from meshloom.hookspecs import hookimpl

BUFFER = 1000
"""Messages that a subscriber may be behind before it has missed some."""


@attrs.frozen
class Options:
    """The in-process bus has nothing to configure."""


@attrs.define(eq=False)
class _Subscription:
    """One subscriber's messages that it has not read yet."""

    waiting: deque[bytes] = attrs.field(factory=deque)
    missed: bool = False
    news: Event = attrs.field(factory=Event)

    def add(self, message: bytes) -> None:
        if len(self.waiting) >= BUFFER:
            self.waiting.clear()
            self.missed = True
        else:
            self.waiting.append(message)
        self.news.set()


class _Messages:
    """Iterates over a subscription, and goes on after Missed."""

    def __init__(self, subscription: _Subscription) -> None:
        self._subscription = subscription

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> bytes:
        mine = self._subscription
        while True:
            if mine.missed:
                mine.missed = False
                raise Missed
            if mine.waiting:
                return mine.waiting.popleft()
            mine.news = Event()
            await mine.news.wait()


class LocalBus(Bus):
    """Delivers within this process."""

    def __init__(self) -> None:
        self._topics: dict[str, list[_Subscription]] = defaultdict(list)

    async def publish(self, topic: str, message: bytes) -> None:
        """Never fails, and waits only for the subscribers' turn to run."""
        for subscription in self._topics.get(topic, ()):
            subscription.add(message)
        await cancel_shielded_checkpoint()

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Messages from entering on."""
        return self._subscribed(topic)

    @asynccontextmanager
    async def _subscribed(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        subscription = _Subscription()
        self._topics[topic].append(subscription)
        try:
            yield _Messages(subscription)
        finally:
            self._topics[topic].remove(subscription)
            if not self._topics[topic]:
                del self._topics[topic]


@asynccontextmanager
async def _open(_options: Options, _context: BusContext) -> AsyncIterator[Bus]:
    yield LocalBus()


@hookimpl
def meshloom_buses() -> Iterable[Backend[BusContext, Bus]]:
    """The bus of a single instance."""
    return [Backend("in-process", Options, _open, rank=10)]
