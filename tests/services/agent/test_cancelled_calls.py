"""A call that is given up ends with the scope that gave it up, and takes nothing else with it."""

import anyio
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.protocol.signal import SignalKind, SignalMessage
from meshloom_agent.channel import ServerAddress, parse_url
from meshloom_agent.facts import system_meta
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.signal_client import SignalClient

pytestmark = pytest.mark.anyio
KEY = PrivateKey.of(b"k" * 32)


class Holds:
    """Takes the place of a server's method, and never answers."""

    def __init__(self):
        self.called = anyio.Event()

    async def answer(self, request, context):
        self.called.set()
        await anyio.sleep_forever()


async def give_up(call, holds):
    """Tells whether a call that waits for its server ends with its scope."""
    async with anyio.create_task_group() as tasks:

        async def cancel(scope):
            await holds.called.wait()
            scope.cancel()

        with anyio.fail_after(10), anyio.CancelScope() as scope:
            tasks.start_soon(cancel, scope)
            await call()
    return scope.cancelled_caught


@pytest.mark.parametrize("method", ["GetServerKey", "Login", "Logout"])
async def test_a_call_of_management_that_is_given_up_ends_its_scope_alone(management, method):
    holds = Holds()
    await management.stop()
    setattr(management, method, holds.answer)
    await management.start()
    client = ManagementClient(parse_url(management.url), KEY)
    meta = await system_meta("box", ipv6=True)
    call = client.logout if method == "Logout" else lambda: client.login(meta, b"")
    try:
        assert await give_up(call, holds)
    finally:
        await client.close()


async def test_a_signal_message_that_is_given_up_ends_its_scope_alone(signal):
    holds, ready = Holds(), anyio.Event()
    await signal.stop()
    signal.Send = holds.answer
    await signal.start()
    client = SignalClient(ServerAddress(signal.target, tls=False), KEY, lambda _: None, lambda *_: ready.set())
    message = SignalMessage(SignalKind.MODE, PrivateKey.of(b"o" * 32).public)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await ready.wait()
        assert await give_up(lambda: client.send(message), holds)
        tasks.cancel_scope.cancel()
