"""What comes by one connection: looked at as far as its caller may cost that, and when it is its turn."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from meshloom_front.callers import Caller
from meshloom_front.costs import cost_of_reading
from meshloom_front.reading import Reading

AT_A_TIME: Final = 1 << 12
"""Bytes of an unknown caller that are looked at before it is asked what they have cost: some 2 ms at most."""


class Incoming:
    """Bytes that come, and those of them that wait here.

    Args:
        transport: They come by.
        caller: Sends them.
        look: Is given them, in order.

    Attributes:
        reading: Whether more is read.
    """

    def __init__(self, transport: asyncio.Transport, caller: Caller, look: Callable[[bytes], None]) -> None:
        self.reading = Reading(transport, self._work)
        self._transport, self._caller, self._look = transport, caller, look
        self._later = b""

    @property
    def held(self) -> int:
        """Bytes of memory that those take: they are copied piece by piece, and what they were is not free at once."""
        return 2 * len(self._later)

    def came(self, data: bytes) -> None:
        """Looks at bytes, or keeps them."""
        if self._caller.proven and not self._later:
            self._look(data)
            return
        self._later += data
        self.spend(cost_of_reading(len(data)))
        self._work()
        if self._later:
            self._caller.held.set(self._caller.held.measure())

    def spend(self, seconds: float) -> None:
        """Lets the other side wait where it has cost too much."""
        if (rest := self._caller.spend(seconds)) > 0:
            self.reading.hold_for(rest)

    def prove(self) -> None:
        """Goes on soon, since the caller is known now."""
        self._caller.prove()
        asyncio.get_running_loop().call_soon(self.reading.release, Reading.COST | Reading.TURN)

    def drop(self) -> None:
        """Forgets what waits: nothing that follows can be read."""
        self._later = b""

    def close(self) -> None:
        """Looks at nothing any more."""
        self.reading.close()
        self.drop()
        self._look = _ignore  # else this and the connection keep each other until they are found

    def _work(self) -> None:
        while self._later and not self.reading.is_held and not self._transport.is_closing():
            caller = self._caller
            if not caller.may_go_on():
                self.reading.hold(Reading.TURN)
                caller.wait(self._take_turn)
                return
            size = len(self._later) if caller.proven else AT_A_TIME
            part, self._later = self._later[:size], self._later[size:]
            start = time.thread_time()
            self._look(part)
            self.spend(time.thread_time() - start)

    def _take_turn(self) -> None:
        self.reading.release(Reading.TURN)


def _ignore(_data: bytes) -> None:
    """Looks at what comes after the end."""
