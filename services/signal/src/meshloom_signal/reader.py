"""One agent's open stream, and the messages that wait for it."""

from collections import deque
from typing import Final

import anyio

from meshloom_front.rpc.call import Call
from meshloom_signal.rates import UNPROVEN_BURST, UNPROVEN_PER_SECOND, Rate
from meshloom_signal.standing import Rank

QUEUE: Final = 256
"""Messages that wait for one reader; the oldest are dropped, since agents repeat what matters."""
QUEUE_BYTES: Final = 1 << 20
"""Bytes of them."""


class Waiting:
    """Messages for one reader, in their order; those of proven senders come first, and are dropped last."""

    def __init__(self) -> None:
        self._proven: deque[bytes] = deque()
        self._others: deque[bytes] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._proven) + len(self._others)

    def __bool__(self) -> bool:
        return bool(self._proven or self._others)

    def add(self, message: bytes, *, proven: bool) -> int:
        """Adds a message; returns how many had to go for it."""
        (self._proven if proven else self._others).append(message)
        self.size += len(message)
        dropped = 0
        while len(self) > QUEUE or self.size > QUEUE_BYTES:
            self._pop(self._others or self._proven)
            dropped += 1
        return dropped

    def first(self) -> bytes:
        """Returns the message that is sent next."""
        return (self._proven or self._others)[0]

    def take(self) -> bytes:
        """Removes and returns the message that is sent next."""
        return self._pop(self._proven or self._others)

    def clear(self) -> None:
        """Drops all."""
        self._proven.clear()
        self._others.clear()
        self.size = 0

    def _pop(self, messages: deque[bytes]) -> bytes:
        message = messages.popleft()
        self.size -= len(message)
        return message


class Reader:
    """One agent's open stream.

    Args:
        proxied: Whether a proxy ends its connection.
        waiting: Messages that waited for an older stream.

    Attributes:
        unproven: Rate of the messages that senders without a proof may send to it.
        ended: Whether it gets nothing more.
        removed: Whether its peer was removed.
        answered: When its other side last answered that it is there.
    """

    def __init__(self, call: Call, rank: Rank, *, proxied: bool, now: float, waiting: Waiting | None = None) -> None:
        self.call, self.rank, self.proxied, self.since = call, rank, proxied, now
        self.waiting = waiting or Waiting()
        self.unproven = Rate(UNPROVEN_PER_SECOND, UNPROVEN_BURST, now)
        self.ended = self.removed = False
        self.answered = float("-inf")
        self._news = anyio.Event()
        self._blocked = False

    def add(self, message: bytes, *, proven: bool) -> int:
        """Sends a message, now if the reader keeps up; returns how many older ones had to go."""
        if not self.waiting and not self.ended and self.call.offer(message):
            return 0
        dropped = self.waiting.add(message, proven=proven)
        self._count()
        self._news.set()
        return dropped

    async def run(self) -> None:
        """Sends what waits until the stream is ended."""
        self._count()
        while not self.ended:
            while self.waiting and not self.ended:
                if self.call.offer(self.waiting.first()):
                    self.waiting.take()
                    self._count()
                    continue
                self._blocked = True
                await self.call.written()
                self._blocked = False
            self._news = anyio.Event()
            if not self.waiting and not self.ended:
                await self._news.wait()

    def end(self) -> None:
        """Sends nothing more; what its other side does not read is given up."""
        self.ended = True
        self._news.set()
        if self._blocked:
            self.call.reset()

    def hand_over(self) -> Waiting:
        """Returns what waits, which is not this stream's any more."""
        waiting, self.waiting = self.waiting, Waiting()
        self._count()
        return waiting

    def forget(self) -> None:
        """Drops what waits."""
        self.waiting.clear()
        self._count()

    def _count(self) -> None:
        self.call.holds(self.waiting.size)
