"""The event loop of tests of services."""

import asyncio

import pytest


class Loop(asyncio.SelectorEventLoop):
    """May be told of something after its end.

    The client of gRPC has one queue for all loops of a process. What was under way on the loop of an earlier test comes
    out of it later, is handed to that loop, and would raise in the test that runs by then.
    """

    def call_soon_threadsafe(self, callback, *args, context=None):
        if self.is_closed():
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon_threadsafe(callback, *args, context=context)


@pytest.fixture
def anyio_backend():
    """Asyncio alone: gRPC knows no other."""
    return "asyncio", {"loop_factory": Loop}
