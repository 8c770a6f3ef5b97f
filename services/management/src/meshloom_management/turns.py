"""Whose map is built next, and when.

What is urgent goes first. Maps that the network has not taken yet are few, and building takes half of one core at most,
however many peers a change concerns and however many changes there are.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from meshloom.model.ids import PeerID
from meshloom.pace import Pace
from meshloom_management.urgency import Urgency

UNSENT: Final = 8 << 20
"""Bytes of maps that may be on their way before the next is built."""
SLOW_READER: Final = 1.0
"""Seconds in which a peer must have taken its map; after that it no longer holds up the others."""
MOST_SLOW: Final = 10_000
"""Slow peers that are remembered."""
SHARE: Final = 0.5
"""Part of one core that maps may take for long: a pause is about as long as the work before it."""
BURST: Final = 0.4
"""Seconds of CPU that they may take at once: a first change for hundreds of peers goes out without a pause."""
SENDING: Final = 1.45
"""Times as long as handing a map over takes, with what its connection takes until the network has all of it, about."""
GROWTH_SHARE: Final = 0.15
"""Part of it for peers that come: while many enrol, each would else be told of each other one by one."""
LONGEST_PAUSE: Final = 2.0
"""Seconds of a pause at most: what has cost more is forgotten."""


class Reader(Protocol):
    """Where a map is written to."""

    def offer(self, message: bytes) -> bool:
        """Sends a message if none waits."""

    async def written(self) -> None:
        """Waits until the network has taken all of it."""


class _Waiting:
    """A peer that waits for its turn."""

    __slots__ = ("event", "urgency")

    def __init__(self, urgency: Urgency) -> None:
        self.event, self.urgency = anyio.Event(), urgency


class Turns:
    """Builds and sends maps, each when its turn comes.

    A turn is held for building; what the network does not take at once counts until it has. A peer that was slow with
    its last map waits for no turn, and its map counts for nobody else: it is held on its connection's account alone.

    Args:
        unsent: Bytes of maps that may be on their way before the next is built.
        patience: Seconds in which a peer must have taken its map.
        clock: Seconds, monotone.
        cpu: Seconds of CPU that this thread has taken.
    """

    def __init__(
        self,
        unsent: int = UNSENT,
        patience: float = SLOW_READER,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._most, self._patience, self._cpu = unsent, patience, cpu
        self._pace = Pace(SHARE, BURST, clock, LONGEST_PAUSE)
        self._growth = Pace(GROWTH_SHARE, BURST, clock, LONGEST_PAUSE)
        self._unsent = 0
        self._queues: dict[Urgency, deque[_Waiting]] = {urgency: deque() for urgency in Urgency}
        self._waiting: dict[PeerID, _Waiting] = {}
        self._slow: dict[PeerID, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._builds: _Waiting | None = None

    async def send(
        self, peer: PeerID, build: Callable[[], bytes | None], reader: Reader, urgency: Urgency = Urgency.NOW
    ) -> None:
        """Waits for the peer's turn, builds, sends, and waits until the network has taken the map."""
        if peer in self._slow:
            size = self._hand_over(build, reader, urgency)
            in_time = await self._taken(reader)
        else:
            mine = await self._turn(peer, urgency)
            size = 0
            try:
                size = self._hand_over(build, reader, mine.urgency)
                self._unsent += size
                self._done(mine)
                in_time = await self._taken(reader)
            finally:
                self._unsent -= size
                self._done(mine)
        if in_time:
            self._slow.pop(peer, None)
            return
        self._slow[peer] = None
        if len(self._slow) > MOST_SLOW:
            del self._slow[next(iter(self._slow))]
        await reader.written()

    def hasten(self, peer: PeerID, urgency: Urgency) -> None:
        """What the peer waits for has become more urgent."""
        waiting = self._waiting.get(peer)
        if waiting is not None and urgency < waiting.urgency:
            waiting.urgency = urgency
            self._queues[urgency].append(waiting)
            self._call_next()

    def _hand_over(self, build: Callable[[], bytes | None], reader: Reader, urgency: Urgency) -> int:
        """Builds and hands over; returns the size of the map."""
        start = self._cpu()
        try:
            message = build()
            if message is None:
                return 0
            reader.offer(message)
            return len(message)
        finally:
            if urgency is not Urgency.NOW:
                taken = (self._cpu() - start) * SENDING
                self._pace.spend(taken)
                if urgency is Urgency.GROWTH:
                    self._growth.spend(taken)

    async def _taken(self, reader: Reader) -> bool:
        with anyio.move_on_after(self._patience):
            await reader.written()
            return True
        return False

    async def _turn(self, peer: PeerID, urgency: Urgency) -> _Waiting:
        mine = self._waiting[peer] = _Waiting(urgency)
        self._queues[urgency].append(mine)
        try:
            self._call_next()
            await mine.event.wait()
        except BaseException:
            mine.event.set()  # it waits no longer
            self._done(mine)
            raise
        finally:
            if self._waiting.get(peer) is mine:
                del self._waiting[peer]
        return mine

    def _done(self, mine: _Waiting) -> None:
        """It has built its map, or its turn is nobody's."""
        if self._builds is mine:
            self._builds = None
        self._call_next()

    def _call_next(self) -> None:
        """Gives the most urgent that may be built now its turn."""
        if self._builds is not None or self._unsent >= self._most:
            return
        for urgency, queue in self._queues.items():
            while queue and (queue[0].event.is_set() or queue[0].urgency is not urgency):
                queue.popleft()
            if not queue:
                continue
            if pause := self._pause(urgency):
                self._go_on_after(pause)
                return
            self._builds = queue.popleft()
            self._builds.event.set()
            return

    def _pause(self, urgency: Urgency) -> float:
        """Seconds until such maps may be built."""
        if urgency is Urgency.NOW:
            return 0.0
        pause = self._pace.rest()
        return max(pause, self._growth.rest()) if urgency is Urgency.GROWTH else pause

    def _go_on_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._call_next)
