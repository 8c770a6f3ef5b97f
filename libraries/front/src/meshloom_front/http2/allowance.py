"""How often the other side may send what costs it nothing: frames without a request, and requests taken back."""

from collections.abc import Callable
from typing import Final

from meshloom_front.http2.frames import Code, HTTP2Error

BURST: Final = 10_000
"""Frames that carry no request, and may come at once."""
PER_SECOND: Final = 1_000
"""How many of them may come for long."""
EARNS: Final = 32
"""Bytes of a body sent for which one more may come: who reads answers with windows and pings."""
RESET_COSTS: Final = 10
"""How many of them a request counts for that is taken back, or broken so that we do (CVE-2023-44487, CVE-2025-8671)."""
WINDOWS_COST: Final = 50
"""Streams whose windows are changed together, for the cost of one."""


class Allowance:
    """What one connection may still send of these.

    Args:
        clock: Seconds, monotone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left, self._at = float(BURST), clock()

    def spend(self, cost: int) -> None:
        """Such a frame is allowed, if there are not too many of them.

        Raises:
            HTTP2Error: There are.
        """
        self._left -= cost
        if self._left < 0:
            now = self._clock()
            self._left = min(BURST, self._left + (now - self._at) * PER_SECOND)
            self._at = now
            if self._left < 0:
                raise HTTP2Error(Code.ENHANCE_YOUR_CALM, "too many frames without a request")

    def earn(self, sent: int) -> None:
        """So many bytes of bodies were sent."""
        self._left = min(BURST, self._left + sent / EARNS)
