"""What services rely on in a bus."""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from meshloom.backend import Backend
from meshloom.bus import BusContext, Missed
from meshloom.testing.contracts.backend import BackendContract

pytestmark = pytest.mark.anyio

WITHIN = 10
"""Seconds in which what was published has arrived."""


class BusContract(BackendContract):
    """A subclass gives the fixture ``backend``, and ``options`` where the defaults do not reach a bus."""

    many = 20_000
    """More messages than the backend keeps for a subscriber that does not read."""

    @pytest.fixture
    def context(self) -> BusContext:
        """One service's."""
        return BusContext(service="test")

    async def test_subscribers_hear_what_is_published(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        async with backend.open(options, context) as bus, bus.subscribe("a") as one, bus.subscribe("a") as other:
            await bus.publish("a", b"news")
            with anyio.fail_after(WITHIN):
                assert [await anext(one), await anext(other)] == [b"news", b"news"]

    async def test_another_topic_is_not_heard(self, backend: Backend[Any, Any], options: Any, context: Any) -> None:
        async with backend.open(options, context) as bus, bus.subscribe("a") as messages:
            await bus.publish("ab", b"other")
            await bus.publish("a", b"mine")
            with anyio.fail_after(WITHIN):
                assert await anext(messages) == b"mine"

    async def test_one_publishers_messages_arrive_in_order(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        sent = [str(number).encode() for number in range(200)]
        async with backend.open(options, context) as bus, bus.subscribe("a") as messages:
            for message in sent:
                await bus.publish("a", message)
            with anyio.fail_after(WITHIN):
                assert [await anext(messages) for _ in sent] == sent

    async def test_any_bytes_arrive_as_they_were(self, backend: Backend[Any, Any], options: Any, context: Any) -> None:
        async with backend.open(options, context) as bus, bus.subscribe("a") as messages:
            for message in (b"", bytes(range(256)), b"\n\r\0" * 1000):
                await bus.publish("a", message)
                with anyio.fail_after(WITHIN):
                    assert await anext(messages) == message

    async def test_who_subscribes_later_has_missed_it(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        async with backend.open(options, context) as bus:
            await bus.publish("a", b"early")
            async with bus.subscribe("a") as messages:
                await bus.publish("a", b"late")
                with anyio.fail_after(WITHIN):
                    assert await anext(messages) == b"late"

    async def test_a_subscriber_that_waits_is_woken(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        heard = []

        async def listen(messages: Any) -> None:
            heard.append(await anext(messages))

        async with backend.open(options, context) as bus, bus.subscribe("a") as messages:
            with anyio.fail_after(WITHIN):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listen, messages)
                    await anyio.wait_all_tasks_blocked()
                    await bus.publish("a", b"wake up")
        assert heard == [b"wake up"]

    async def test_a_cancelled_wait_loses_nothing(self, backend: Backend[Any, Any], options: Any, context: Any) -> None:
        async with backend.open(options, context) as bus, bus.subscribe("a") as messages:
            with anyio.move_on_after(0.01):
                await anext(messages)
            await bus.publish("a", b"after")
            with anyio.fail_after(WITHIN):
                assert await anext(messages) == b"after"

    async def test_who_falls_behind_is_told_and_goes_on(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        async with backend.open(options, context) as bus, bus.subscribe("a") as messages:
            for number in range(self.many):
                await bus.publish("a", str(number).encode())
            with anyio.fail_after(WITHIN), pytest.raises(Missed):
                while True:
                    await anext(messages)
            await bus.publish("a", b"last")
            with anyio.fail_after(WITHIN):
                while await anext(messages) != b"last":
                    """What was kept before it."""

    async def test_one_that_falls_behind_holds_up_nobody(
        self, backend: Backend[Any, Any], options: Any, context: Any
    ) -> None:
        async with backend.open(options, context) as bus, AsyncExitStack() as opened:
            await opened.enter_async_context(bus.subscribe("a"))
            quick = await opened.enter_async_context(bus.subscribe("a"))
            for number in range(self.many):
                await bus.publish("a", str(number).encode())
                with anyio.fail_after(WITHIN):
                    assert await anext(quick) == str(number).encode()
