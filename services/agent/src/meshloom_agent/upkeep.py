"""Keeps parts of the host as the agent made them: the tunnel today, and whatever else it changes on a host.

Every part compares what is there now with what it applied, never with what it remembers of earlier looks. What
something else changed is put back at once. Where that happens again and again it is put back more and more slowly, so
that two programs that want different things do not fill the log or a processor; the report tells it meanwhile.
"""

import logging
from collections.abc import Awaitable
from typing import Protocol

import anyio
import attrs

from meshloom.errors import MeshError
from meshloom_agent.backoff import Backoff
from meshloom_agent.report import Report
from meshloom_linux.watch import EVERYTHING, network_changes

_log = logging.getLogger(__name__)

LOOK_EVERY = 3.0
"""Seconds between two looks where the kernel announces nothing: WireGuard's own settings change in silence."""
SHARE = 100
"""A pause lasts at least this many times as long as the look before it took: one percent of a processor."""
PEACE = 60.0
"""Seconds without a change after which the next one is put back at once again."""

LONGEST_PAUSE = 5.0


class PutBack(Protocol):
    """Puts a part back, or only looks, and tells what was different, in words; raises MeshError where it cannot."""

    def __call__(self, *, look_only: bool = False) -> Awaitable[tuple[str, ...]]:
        """As the class says."""


@attrs.define
class _Part:
    put_back: PutBack
    backoff: Backoff = attrs.field(factory=lambda: Backoff(first=1.0, longest=60.0, factor=2.0))
    changed_at: float = float("-inf")
    not_before: float = float("-inf")
    refusal: str = ""


class Upkeep:
    """Looks after the parts of one engine; run :meth:`run` once they are applied.

    Args:
        report: Where to note what is different and not put back.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._parts: dict[str, _Part] = {}
        self._one = anyio.Lock()
        self._news = anyio.Event()

    def add(self, name: str, put_back: PutBack) -> None:
        """Looks after one more part.

        Args:
            name: What people call the part.
            put_back: Called at each look.
        """
        self._parts[name] = _Part(put_back)

    async def run(self) -> None:
        """Looks at every announcement of the kernel, and regularly, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            while True:
                self._news = anyio.Event()
                began = anyio.current_time()
                await self.look()
                took = anyio.current_time() - began
                await anyio.sleep(min(took * SHARE, LONGEST_PAUSE))
                with anyio.move_on_after(LOOK_EVERY):
                    await self._news.wait()

    async def _listen(self) -> None:
        async with network_changes(EVERYTHING) as changes:
            async for _ in changes:
                self._news.set()

    async def look(self) -> None:
        """Compares every part with what is there now, and puts back what differs; the report tells the result."""
        async with self._one:
            for name, part in self._parts.items():
                await self._look_at(name, part)

    async def _look_at(self, name: str, part: _Part) -> None:
        now = anyio.current_time()
        waits = now < part.not_before
        try:
            said = await part.put_back(look_only=waits)
        except MeshError as error:
            if not waits:
                part.refusal = f"{error}; it is tried again"
                self._changed(part, now)
            self._report.disturb(name, part.refusal or str(error))
            return
        if said and waits:
            again = f"something else changes it again and again: {'; '.join(said)}"
            self._report.disturb(name, part.refusal or again)
            return
        part.refusal = ""
        self._report.disturb(name, "")
        if said:
            self._report.counters.put_back += 1
            _log.warning("%s: something else has changed it, and it is put back: %s", name, "; ".join(said))
            self._changed(part, now)

    def _changed(self, part: _Part, now: float) -> None:
        if now - part.changed_at > PEACE:
            part.backoff.reset()
            part.not_before = now
        else:
            part.not_before = now + part.backoff.next()
        part.changed_at = now
