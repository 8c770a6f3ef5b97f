"""Event loops of tests."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any


def forgiving(base: type[asyncio.AbstractEventLoop]) -> type[asyncio.AbstractEventLoop]:
    """Returns a kind of event loop that may be told of something after its end.

    The client of gRPC has one queue for all loops of a process. What was under way on the loop of an earlier test comes
    out of it later, is handed to that loop, and would raise in the test that runs by then.

    Args:
        base: The kind of loop that it is otherwise, of asyncio or of uvloop.
    """

    class Forgiving(base):  # type: ignore[misc, valid-type]  # a class that is given
        def call_soon_threadsafe(
            self, callback: Callable[..., object], *args: Any, context: Context | None = None
        ) -> asyncio.Handle:
            if self.is_closed():
                return asyncio.Handle(callback, args, self, context)
            return super().call_soon_threadsafe(callback, *args, context=context)  # type: ignore[no-any-return]

    return Forgiving
