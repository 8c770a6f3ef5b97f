"""Whether the other side of a connection answers, asked when somebody wants to know."""

import asyncio
from collections.abc import Callable


class Liveness:
    """Asks the other side of one connection for a sign of life.

    Args:
        ping: Sends a PING of HTTP/2.
    """

    def __init__(self, ping: Callable[[], None]) -> None:
        self._ping = ping
        self._lost = False
        self._asking: list[asyncio.Future[None]] = []

    async def ask(self, within: float) -> bool:
        """Return whether the other side sends anything within so many seconds; askers of one time share one PING."""
        if self._lost:
            return False
        if not self._asking:
            self._ping()
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(answer)
        try:
            async with asyncio.timeout(within):
                await answer
        except TimeoutError:
            return False
        finally:
            if answer in self._asking:
                self._asking.remove(answer)
        return not self._lost

    def heard(self) -> None:
        """Note that something came: whatever it was, the other side is there."""
        if self._asking:
            self._wake()

    def lost(self) -> None:
        """Note that the connection has ended."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        asking, self._asking = self._asking, []
        for each in asking:
            if not each.done():
                each.set_result(None)
