"""This machine's network becomes another one: connections that may be dead are not waited for."""

import asyncio

import anyio
import pytest

from meshloom.model.keys import PrivateKey
from meshloom_agent import engine
from meshloom_agent.channel import ServerAddress
from meshloom_agent.report import CONNECTED
from meshloom_agent.signal_client import SignalClient

pytestmark = pytest.mark.anyio

KEY = PrivateKey.of(b"k" * 32)
SOON = 5.0


class Line:
    """Passes TCP on until it is cut: then nothing comes by a connection that stands, and nobody says so."""

    def __init__(self, port):
        self._port, self._is_cut, self._tasks, self._ends = port, asyncio.Event(), [], []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in self._ends:
            end.close()
        await asyncio.gather(*(end.wait_closed() for end in self._ends), return_exceptions=True)

    def cut(self):
        """Those that stand; new ones work."""
        self._is_cut.set()
        self._is_cut = asyncio.Event()

    async def _serve(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends += [writer, there[1]]
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._tasks.append(asyncio.ensure_future(self._pass(source, sink, self._is_cut)))

    async def _pass(self, source, sink, is_cut):
        while (data := await source.read(1 << 16)) and not is_cut.is_set():
            sink.write(data)
        if is_cut.is_set():
            await asyncio.Event().wait()
        sink.close()


@pytest.fixture
async def line(signal):
    async with Line(signal.port) as made:
        yield made


async def test_a_dead_connection_with_signal_is_replaced_as_soon_as_the_network_is_another_one(line, signal, until):
    states = []
    client = SignalClient(ServerAddress(line.target, tls=False), KEY, lambda _: None, lambda *said: states.append(said))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: states == [(True, "")])
        line.cut()
        for _ in range(3):
            client.renew()
            await until(lambda: states[-1] == (True, "") and len(states) % 2 == 1, SOON)
            states.append((False, ""))
            states.append((True, ""))
        tasks.cancel_scope.cancel()


async def test_the_engine_connects_with_signal_again_when_its_addresses_change(
    agents, signal, until, monkeypatch, tunnels
):
    one = agents(0)
    await until(lambda: one.report.state == CONNECTED)
    await until(lambda: one.engine._mesh._local.listen_port)
    before = signal.streams[one.key.text]

    async def elsewhere(*_):
        return [("198.51.100.7", "eth0")]

    monkeypatch.setattr(engine, "host_interfaces", elsewhere)
    await one.engine._refresh_addresses()
    await until(lambda: signal.streams[one.key.text] is not before, SOON)
    await until(lambda: one.report.state == CONNECTED, SOON)
    again = signal.streams[one.key.text]
    await one.engine._refresh_addresses()
    assert signal.streams[one.key.text] is again, "nothing has changed since"
