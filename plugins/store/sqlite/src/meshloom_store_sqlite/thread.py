"""One thread that owns the connection, and runs what it is given in order."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from anyio import from_thread, lowlevel, to_thread

T = TypeVar("T")


class DatabaseThread:
    """Runs functions in its own thread, one after the other, in the order in which they were given.

    A pool's threads would not do: who is cancelled the hard way (asyncio's ``Task.cancel``) stops waiting while their
    function still runs, and what comes after it must not overtake it on the same connection.
    """

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or exception. Once it is queued it will run to its end, cancelled or not."""
        await lowlevel.checkpoint_if_cancelled()
        token = lowlevel.current_token()
        outcome: Future[T] = Future()
        done = anyio.Event()

        def job() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - handed to who waits
                outcome.set_exception(error)
            else:
                outcome.set_result(result)
            try:
                from_thread.run_sync(done.set, token=token)
            except RuntimeError:
                return  # the event loop is gone, and who waited with it

        self._executor.submit(job)
        with anyio.CancelScope(shield=True):
            await done.wait()
        return outcome.result()


@asynccontextmanager
async def database_thread() -> AsyncIterator[DatabaseThread]:
    """A thread that ends, after all that was queued, with the context."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="meshloom-sqlite")
    try:
        yield DatabaseThread(executor)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(executor.shutdown)
