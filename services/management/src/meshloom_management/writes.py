"""Writes that wait for their account: all that come while others are being stored are stored together, next."""

from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup

from meshloom.errors import Conflict
from meshloom_management.draft import Draft

MOST_TOGETHER = 64
"""Writes of one transaction."""


@attrs.define(eq=False)
class Write:
    """One caller's write, and what became of it."""

    mutate: Callable[[Draft], Any]
    outcome: "Future[Any]" = attrs.field(factory=Future)
    done: anyio.Event = attrs.field(factory=anyio.Event)
    _result: Any = None

    def apply(self, draft: Draft) -> bool:
        """Let the caller write the draft; False where it raises, and then the draft is as it was before."""
        before = draft.mark()
        try:
            self._result = self.mutate(draft)
        except Exception as error:  # noqa: BLE001 - handed to who waits
            draft.go_back(before)
            self.fail(error)
            return False
        return True

    def succeed(self) -> None:
        """It is stored, and the newest snapshot has it."""
        self.outcome.set_result(self._result)
        self.done.set()

    def fail(self, error: Exception) -> None:
        """Nothing of it is kept."""
        self.outcome.set_exception(error)
        self.done.set()


class WriteQueue:
    """The writes of one account.

    Args:
        begin: A draft of the newest snapshot.
        commit: Stores a draft and makes it the newest snapshot, or raises and does nothing.
    """

    def __init__(self, begin: Callable[[], Draft], commit: Callable[[Draft], Awaitable[None]]) -> None:
        self._begin, self._commit = begin, commit
        self._waiting: deque[Write] = deque()

    async def write(self, mutate: Callable[[Draft], Any], writers: TaskGroup) -> Any:
        """See ``Accounts.change``.

        The task that writes is its own: gRPC cancels its tasks with asyncio's means, which no shield holds off, and a
        caller that left between storing and adopting would leave a snapshot that the store knows better than.
        """
        write = Write(mutate)
        self._waiting.append(write)
        if len(self._waiting) == 1:  # writes stay in the queue until they are done: nobody is at it
            writers.start_soon(self._run, name="account writes")
        await write.done.wait()
        return write.outcome.result()

    async def _run(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._waiting:
                together = [write for _, write in zip(range(MOST_TOGETHER), self._waiting, strict=False)]
                await self._store(together)
                for _ in together:
                    self._waiting.popleft()

    async def _store(self, writes: list[Write]) -> None:
        draft = self._begin()
        applied = [write for write in writes if write.apply(draft)]
        try:
            await self._commit(draft)
        except Conflict as conflict:
            if len(applied) == 1:
                applied[0].fail(conflict)
                return
            for write in applied:  # one of them is at fault: the others are not to suffer for it
                await self._store([write])
        except Exception as error:  # noqa: BLE001 - handed to who waits
            for write in applied:
                write.fail(error)
        else:
            for write in applied:
                write.succeed()
