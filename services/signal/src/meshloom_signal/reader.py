"""One agent's open stream, and the messages that wait for it."""

from collections import deque
from typing import Final

import anyio

from meshloom_front.rpc.call import Call
from meshloom_signal.shares import Shared
from meshloom_signal.standing import Rank, Silence

QUEUE: Final = 256
"""Messages that wait for one reader; the oldest are dropped, since agents repeat what matters."""
QUEUE_BYTES: Final = 1 << 20
"""Bytes of them."""


class Waiting:
    """Messages for one reader, in their order; those of senders with more to show come first, and are dropped last."""

    def __init__(self) -> None:
        self._proven: deque[bytes] = deque()
        self._seen: deque[bytes] = deque()
        self._claimed: deque[bytes] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._proven) + len(self._seen) + len(self._claimed)

    def __bool__(self) -> bool:
        return bool(self._proven or self._seen or self._claimed)

    def add(self, message: bytes, rank: Rank) -> int:
        """Adds a message of a sender of that rank; returns how many had to go for it."""
        if rank is Rank.PROVEN:
            self._proven.append(message)
        else:
            (self._seen if rank is Rank.SEEN else self._claimed).append(message)
        self.size += len(message)
        dropped = 0
        while len(self) > QUEUE or self.size > QUEUE_BYTES:
            self._pop(self._claimed or self._seen or self._proven)
            dropped += 1
        return dropped

    def first(self) -> bytes:
        """Returns the message that is sent next."""
        return (self._proven or self._seen or self._claimed)[0]

    def take(self) -> bytes:
        """Removes and returns the message that is sent next."""
        return self._pop(self._proven or self._seen or self._claimed)

    def clear(self) -> None:
        """Drops all."""
        for each in (self._proven, self._seen, self._claimed):
            each.clear()
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
        shared: What senders without a proof may send to it together.
        silence: How long its client has said nothing; for one behind a proxy.
        ended: Whether it gets nothing more.
        removed: Whether its peer was removed.
        replaced: Whether another stream of the same key has taken its place.
        answered: When its other side last answered that it is there.
    """

    def __init__(self, call: Call, rank: Rank, *, proxied: bool, now: float, waiting: Waiting | None = None) -> None:
        self.call, self.rank, self.proxied = call, rank, proxied
        self.waiting = waiting or Waiting()
        self.shared, self.silence = Shared(now), Silence(now)
        self.ended = self.removed = self.replaced = False
        self.answered = float("-inf")
        self._news = anyio.Event()
        self._blocked = False

    def add(self, message: bytes, rank: Rank) -> int:
        """Sends a message of a sender of that rank, now if the reader keeps up; returns how many had to go for it."""
        if not self.waiting and not self.ended and self.call.offer(message):
            return 0
        dropped = self.waiting.add(message, rank)
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
