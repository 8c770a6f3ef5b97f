"""Whether bytes of a connection are read: several reasons may hold them up at once, and each ends by itself.

What is not read waits at the other side, in the end: nothing is lost, and nothing is kept here.
"""

import asyncio
from collections.abc import Callable
from typing import Final

SHORTEST: Final = 0.02
"""Seconds of the shortest rest."""


class Reading:
    """Reading from one connection.

    Args:
        go_on: Called before it is read again; it may hold it up once more.
    """

    UNSENT: Final = 1
    """Too much is to be sent to the other side already."""
    COST: Final = 2
    """The other side has used up what it may cost."""
    UNREAD: Final = 4
    """Whoever is to take what came does not."""
    TURN: Final = 8
    """Others have their turn before."""

    def __init__(self, transport: asyncio.Transport, go_on: Callable[[], None] | None = None) -> None:
        self._transport, self._go_on = transport, go_on
        self._held = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_held(self) -> bool:
        """Whether nothing is read."""
        return bool(self._held)

    def hold(self, reason: int) -> None:
        """Read nothing until this reason is released."""
        if not self._held and not self._transport.is_closing():
            self._transport.pause_reading()
        self._held |= reason

    def release(self, reason: int) -> None:
        """Read again, unless there is another reason not to."""
        held, self._held = self._held, self._held & ~reason
        if held and not self._held and self._go_on is not None:
            self._go_on()
        if held and not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    def hold_for(self, seconds: float) -> None:
        """Read nothing for some seconds, and not for less than stopping and going on is worth."""
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.hold(self.COST)
        self._timer = asyncio.get_running_loop().call_later(max(seconds, SHORTEST), self.release, self.COST)

    def close(self) -> None:
        """The connection is gone, or another one's business."""
        self._closed, self._go_on = True, None
        if self._timer is not None:
            self._timer.cancel()
