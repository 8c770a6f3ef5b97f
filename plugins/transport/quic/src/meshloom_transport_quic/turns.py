"""When work for those that are not admitted is done: all of them together have one allowance of CPU time."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from meshloom.pace import Pace
from meshloom_transport_quic.fairness import Source, Waiting

WorkT = TypeVar("WorkT")

SHARE, BURST = 0.2, 0.5
"""Part of one core for long, and seconds of CPU at once."""
SLICE: Final = 0.003
"""Seconds of CPU in one iteration of the event loop, after which no more is begun: the admitted wait no longer."""
LONGEST_REST: Final = 0.5
"""Seconds of rest at most."""
AGAIN: Final = 0.002
"""Seconds of the shortest rest."""


class Turns(Generic[WorkT]):
    """Does work at once where the allowance suffices, else lets it wait.

    Args:
        run: Does it.
        too_late: Called with what is not done: it gave way, or has waited too long.
        pace: The allowance.
        clock: Seconds, monotone.
        cpu: Seconds of CPU of this thread.
    """

    def __init__(
        self,
        run: Callable[[WorkT], None],
        too_late: Callable[[WorkT], None],
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._do, self._too_late, self._clock, self._cpu = run, too_late, clock, cpu
        self._pace = pace or Pace(SHARE, BURST, clock, LONGEST_REST)
        self._waiting: Waiting[WorkT] = Waiting()
        self._used = 0.0
        self._next: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_short(self) -> bool:
        """Whether the allowance is used up."""
        return self._pace.rest() > 0

    def offer(self, work: WorkT, source: Source) -> None:
        """Does work now, or when it is its turn."""
        if not self._waiting and self._used < SLICE and not self._pace.rest():
            self.pay(lambda: self._do(work), source)
            return
        gone = self._waiting.add(work, source, self._clock())
        if gone is not None:
            self._too_late(gone)
        self._soon()

    def pay(self, do: Callable[[], None], source: Source | None = None) -> None:
        """Does what cannot wait, and counts what it costs."""
        start = self._cpu()
        try:
            do()
        finally:
            cost = self._cpu() - start
            self._used += cost
            self._pace.spend(cost)
            if source is not None:
                self._waiting.spend(source, cost, self._clock())
            self._soon()  # the next iteration of the loop begins with nothing used

    def close(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
        for handle in (self._next, self._later):
            if handle is not None:
                handle.cancel()

    def _soon(self) -> None:
        if self._next is None and self._later is None:
            self._next = asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._next = self._later = None
        self._used = 0.0
        while self._used < SLICE and self._waiting:
            if rest := self._pace.rest():
                self._later = asyncio.get_running_loop().call_later(max(rest, AGAIN), self._run)
                return
            self._serve()
        if self._waiting:
            self._soon()

    def _serve(self) -> None:
        if (first := self._waiting.pop(self._clock())) is None:
            return
        work, source, is_late = first
        if is_late:
            self._too_late(work)
        else:
            self.pay(lambda: self._do(work), source)
