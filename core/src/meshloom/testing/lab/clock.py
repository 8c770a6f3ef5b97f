"""Virtual time: events in order, at once."""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class VirtualClock:
    """Runs actions in the order of their times; those of one time in the order in which they were planned."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.events = 0
        """How many actions have run."""
        self._planned: list[tuple[float, int, Action]] = []
        self._order = 0

    def call_at(self, time: float, action: Action) -> None:
        """Run *action* at *time*, at the earliest now."""
        self._order += 1
        heapq.heappush(self._planned, (max(time, self.now), self._order, action))

    def call_in(self, seconds: float, action: Action) -> None:
        """Run *action* after that time."""
        self.call_at(self.now + seconds, action)

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        self._run(self.now + seconds, lambda: False)

    def run_until(self, condition: Callable[[], bool], *, within: float) -> float:
        """Let time pass until *condition*; the seconds that it took.

        Raises:
            AssertionError: It did not come true in time.
        """
        began = self.now
        if condition() or self._run(began + within, condition):
            return self.now - began
        raise AssertionError(f"did not come true within {within} s of virtual time")

    def _run(self, end: float, condition: Callable[[], bool]) -> bool:
        while self._planned and self._planned[0][0] <= end:
            self.now, _, action = heapq.heappop(self._planned)
            self.events += 1
            action()
            if condition():
                return True
        self.now = end
        return False
