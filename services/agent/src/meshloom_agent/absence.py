"""Which peers are away, as management knows it: asked when somebody looks, and never told to agents unasked."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import anyio

from meshloom.model.keys import PublicKey
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.management_errors import LoginDenied, ManagementUnreachable

ASK_AGAIN: Final = 2.0
"""Seconds from an answer until it is asked again."""
LOOK_WITHIN: Final = 1.0
"""Seconds that one who looks waits for an answer; a later one is there for the next look."""
GOODBYE_COUNTS: Final = 120.0
"""Seconds for which a peer's own goodbye counts where management does not say who is away."""


class Absences:
    """Asks one management server; run :meth:`run` in a task group.

    Args:
        client: The server; those of NetBird are not asked.
        told: Called with the peers that are away, each with since when, and with the moment of the question.
    """

    def __init__(self, client: ManagementClient, told: Callable[[Mapping[PublicKey, float], float], None]) -> None:
        self._client, self._told = client, told
        self._wanted, self._answered = anyio.Event(), anyio.Event()
        self._answered_at = float("-inf")

    async def run(self) -> None:
        """Asks whenever somebody has looked, until cancelled."""
        while True:
            await self._wanted.wait()
            await self._ask()
            self._wanted = anyio.Event()
            self._answered.set()
            self._answered = anyio.Event()

    async def look(self, *, is_connected: bool) -> None:
        """Brings up to date what was told; waits for a moment at most.

        Args:
            is_connected: Whether management is connected: otherwise it knows no more than it said.
        """
        now = anyio.current_time()
        if not is_connected or not self._client.proves:
            self._told({}, now - GOODBYE_COUNTS)
        elif now - self._answered_at >= ASK_AGAIN:
            self._wanted.set()
            with anyio.move_on_after(LOOK_WITHIN):
                await self._answered.wait()

    async def _ask(self) -> None:
        asked = anyio.current_time()
        with contextlib.suppress(ManagementUnreachable, LoginDenied):
            away, now = await self._client.absent(), anyio.current_time()
            self._told({key: now - seconds for key, seconds in away.items()}, asked)
        self._answered_at = anyio.current_time()
