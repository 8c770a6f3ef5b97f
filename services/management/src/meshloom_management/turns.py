"""Whose map is built next: maps that the network has not taken yet are few, however many peers a change concerns."""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from meshloom.model.ids import PeerID

UNSENT: Final = 8 << 20
"""Bytes of maps that may be on their way before the next is built."""
SLOW_READER: Final = 1.0
"""Seconds in which a peer must have taken its map; after that it no longer holds up the others."""
MOST_SLOW: Final = 10_000
"""Slow peers that are remembered."""


class Reader(Protocol):
    """Where a map is written to."""

    def offer(self, message: bytes) -> bool:
        """Sends a message if none waits."""

    async def written(self) -> None:
        """Waits until the network has taken all of it."""


class Turns:
    """Builds and sends maps, each when its turn comes.

    A turn is held for building; what the network does not take at once counts until it has. A peer that was slow with
    its last map waits for no turn, and its map counts for nobody else: it is held on its connection's account alone.
    """

    def __init__(self, unsent: int = UNSENT, patience: float = SLOW_READER) -> None:
        self._most, self._patience = unsent, patience
        self._unsent = 0
        self._waiting: deque[anyio.Event] = deque()
        self._slow: dict[PeerID, None] = {}

    async def send(self, peer: PeerID, build: Callable[[], bytes | None], reader: Reader) -> None:
        """Waits for the peer's turn, builds, sends, and waits until the network has taken the map."""
        if peer in self._slow:
            size = self._hand_over(build, reader)
            in_time = await self._taken(reader)
        else:
            await self._turn()
            size = 0
            try:
                size = self._hand_over(build, reader)
                self._unsent += size
                self._call_next()
                in_time = await self._taken(reader)
            finally:
                self._unsent -= size
                self._call_next()
        if in_time:
            self._slow.pop(peer, None)
            return
        self._slow[peer] = None
        if len(self._slow) > MOST_SLOW:
            del self._slow[next(iter(self._slow))]
        await reader.written()

    @staticmethod
    def _hand_over(build: Callable[[], bytes | None], reader: Reader) -> int:
        """Builds and hands over; returns the size of the map."""
        message = build()
        if message is None:
            return 0
        reader.offer(message)
        return len(message)

    async def _taken(self, reader: Reader) -> bool:
        with anyio.move_on_after(self._patience):
            await reader.written()
            return True
        return False

    async def _turn(self) -> None:
        if not self._waiting and self._unsent < self._most:
            return
        mine = anyio.Event()
        self._waiting.append(mine)
        try:
            await mine.wait()
        except BaseException:
            if mine.is_set():
                self._call_next()  # it was this one's turn, and is nobody's
            else:
                self._waiting.remove(mine)
            raise

    def _call_next(self) -> None:
        if self._waiting and self._unsent < self._most:
            self._waiting.popleft().set()
