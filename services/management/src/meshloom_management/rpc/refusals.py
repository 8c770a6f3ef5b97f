"""How many messages of agents were refused, and why: counted for metrics, and said in the log once a minute."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

import anyio

_log = logging.getLogger(__name__)

SAID_EVERY: Final = 60.0
"""Seconds between two lines of the log: strangers may send as much as they like."""
MOST_TOLD: Final = 20
"""Lines about single refusals between two such lines."""


class Refusals:
    """Counts refusals by their reason.

    Args:
        count: Is called with the reason of each.
    """

    def __init__(self, count: Callable[[str], None] = lambda _reason: None) -> None:
        self._count = count
        self._unsaid: Counter[str] = Counter()
        self._told = 0
        self._news = anyio.Event()

    def add(self, reason: str, told: str = "") -> None:
        """Counts one; what is to be *told* of it is in the log at once, a few times a minute."""
        self._count(reason)
        if told and self._told < MOST_TOLD:
            self._told += 1
            _log.info("%s", told)
        self._unsaid[reason] += 1
        self._news.set()

    def say(self) -> None:
        """Writes what was not said yet into the log, in one line."""
        unsaid, self._unsaid, self._news = self._unsaid, Counter(), anyio.Event()
        self._told = 0
        if unsaid:
            reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(unsaid.items()))
            _log.info("messages of agents were refused: %s", reasons)

    async def run(self) -> None:
        """Says it at most once a minute."""
        while True:
            await self._news.wait()
            await anyio.sleep(SAID_EVERY)
            self.say()
