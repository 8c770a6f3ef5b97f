"""No moment takes a machine off for good, be it of the network or of the server: it comes back by itself."""

import asyncio
import contextlib
from contextlib import asynccontextmanager

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from meshloom_agent import sync
from meshloom_agent.backoff import Backoff
from meshloom_agent.daemon import Daemon
from meshloom_agent.files import StateDir
from meshloom_agent.management_errors import ManagementUnreachable
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"
GRPC = {":status": "200", "content-type": "application/grpc"}
ANSWERS = {
    "a firewall's 403": ({":status": "403", "content-type": "text/html"}, b"<html>blocked</html>"),
    "a proxy's 401": ({":status": "401"}, b""),
    "a proxy's 404": ({":status": "404"}, b"not here"),
    "a proxy's 502": ({":status": "502"}, b""),
    "a portal's page": ({":status": "200", "content-type": "text/html"}, b"<html>log in</html>"),
    "a proxy's own status of gRPC": (GRPC | {"grpc-status": "7", "grpc-message": "RBAC: access denied"}, b""),
    "a status without a text": (GRPC | {"grpc-status": "7"}, b""),
    "a proxy that finds nothing": (GRPC | {"grpc-status": "5", "grpc-message": "no route"}, b""),
}
"""Heads and bodies, by what stands there."""
HTTP1 = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno\r\n"


class Portal:
    """Answers everything alike on a port; counts what was asked."""

    def __init__(self, port, answer):
        self.port, self._answer, self.asked = port, answer, 0
        self._server, self._writers = None, set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self):
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            await (self._say_http1(reader, writer) if self._answer == HTTP1 else self._say_http2(reader, writer))
        writer.close()

    async def _say_http1(self, reader, writer):
        await reader.read(65536)
        self.asked += 1
        writer.write(HTTP1)
        await writer.drain()

    async def _say_http2(self, reader, writer):
        head, body = self._answer
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.asked += 1
                    connection.send_headers(event.stream_id, list(head.items()), end_stream=not body)
                    if body:
                        connection.send_data(event.stream_id, body, end_stream=True)
            writer.write(connection.data_to_send())
            await writer.drain()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waiting is not what is tested."""
    monkeypatch.setattr(sync, "Backoff", lambda **_: Backoff(first=0.1, longest=0.5))
    monkeypatch.setattr(sync, "patience", lambda: Backoff(first=0.1, longest=0.5))


@pytest.fixture
def start(tmp_path, tunnels):
    @asynccontextmanager
    async def start():
        made = Daemon(StateDir(tmp_path / "state"), tunnels.chosen)
        async with made.running():
            yield made

    return start


@pytest.fixture
async def daemon(start, settings, until):
    """One that is up, with a map on disk."""
    async with start() as made:
        await made.login(settings(0), SETUP_KEY)
        await made.up()
        await made.settled()
        await until(lambda: made.report.state == CONNECTED and made.files.last_map() is not None)
        yield made


@asynccontextmanager
async def instead_of(management, answer):
    """Something else answers at management's port."""
    await management.stop()
    portal = Portal(management.port, answer)
    await portal.start()
    try:
        yield portal
    finally:
        await portal.stop()
        await management.start()


@pytest.mark.parametrize("answer", [*ANSWERS.values(), HTTP1], ids=[*ANSWERS, "a proxy of HTTP/1.1"])
async def test_what_stands_before_management_for_a_moment_costs_nothing(daemon, management, tunnels, until, answer):
    async with instead_of(management, answer) as portal:
        await until(lambda: portal.asked >= 3)
        assert daemon.is_up
        assert daemon.settings.up
        assert StateDir(daemon.files.path).settings().up
        assert daemon.files.last_map() is not None
        assert "test0" in tunnels.opened
        assert daemon.report.state == "Connecting"
    await until(lambda: daemon.report.state == CONNECTED, 20)
    assert tunnels.count["test0"] == 1, "the tunnel was never taken down"


async def test_going_up_behind_a_portal_uses_the_last_map(daemon, management):
    await daemon.down()
    async with instead_of(management, ANSWERS["a firewall's 403"]):
        await daemon.login(daemon.settings, "")
        await daemon.up()
        assert daemon.report.state != "NeedsLogin"


async def test_an_empty_server_takes_no_machine_off_and_finds_it_again_with_its_data(
    daemon, management, tunnels, until
):
    peers, management.peers = management.peers, {}
    management.tell(daemon.files.key().public.text, None)
    await until(lambda: daemon.report.state == "NeedsLogin")
    assert "management does not know this machine: no peer auth method" in daemon.failure
    assert "still" in daemon.failure
    asked = len(management.logins)
    await until(lambda: len(management.logins) > asked + 1)
    assert daemon.is_up
    assert StateDir(daemon.files.path).settings().up
    assert daemon.files.last_map() is not None
    assert tunnels.count["test0"] == 1
    assert "test0" in tunnels.opened
    management.peers = peers
    await until(lambda: daemon.report.state == CONNECTED, 20)
    assert daemon.failure == ""
    assert tunnels.count["test0"] == 1


async def test_a_machine_that_starts_while_it_is_not_known_uses_its_map_and_comes_back(
    start, settings, management, until
):
    async with start() as first:
        await first.login(settings(0), SETUP_KEY)
        await first.up()
        await until(lambda: first.files.last_map() is not None)
    peers, management.peers = management.peers, {}
    async with start() as second:
        await until(lambda: second.report.state == "NeedsLogin")
        assert second.report.addresses
        management.peers = peers
        await until(lambda: second.report.state == CONNECTED, 20)


async def test_a_machine_without_a_map_waits_until_it_is_known(start, settings, management, until):
    async with start() as first:
        await first.login(settings(0), SETUP_KEY)
        await first.up()
        await first.settled()
        first.files.forget_map()
    (first.files.path / "map").unlink(missing_ok=True)  # it is written once more at the end
    peers, management.peers = management.peers, {}
    async with start() as second:
        await until(lambda: second.report.state == "NeedsLogin")
        assert second.is_up
        management.peers = peers
        await until(lambda: second.report.state == CONNECTED, 20)


async def test_a_setup_key_lets_a_machine_in_again_at_once(daemon, management, until, monkeypatch):
    monkeypatch.setattr(sync, "patience", lambda: Backoff(first=3600, longest=3600))
    await daemon.down()
    await daemon.up()
    await until(lambda: daemon.report.state == CONNECTED)
    management.peers, management.serial = {}, 0
    management.tell(daemon.files.key().public.text, None)
    await until(lambda: daemon.report.state == "NeedsLogin")
    await daemon.login(daemon.settings, SETUP_KEY)
    await daemon.settled()
    assert (daemon.report.state, daemon.failure) == (CONNECTED, "")
    assert management.serial < 3, "the new account begins to count where the old one was not"


async def test_the_stream_alone_says_nobody_is_unknown(daemon, management, until, tunnels):
    before = len(management.metas)
    for _ in range(3):
        seen = len(management.metas)
        management.tell(daemon.files.key().public.text, None)
        await until(lambda seen=seen: len(management.metas) > seen, 20)
    await until(lambda: daemon.report.state == CONNECTED, 20)
    assert len(management.metas) > before
    assert tunnels.count["test0"] == 1


@pytest.mark.parametrize("answer", [*ANSWERS.values(), HTTP1], ids=[*ANSWERS, "a proxy of HTTP/1.1"])
async def test_logout_forgets_nothing_on_the_word_of_something_else(daemon, management, answer):
    async with instead_of(management, answer):
        with pytest.raises(ManagementUnreachable, match="meshloom logout --local"):
            await daemon.log_out()
        assert daemon.is_up
        assert StateDir(daemon.files.path).settings().up
        assert daemon.files.last_map() is not None
    assert management.peers


async def test_logout_here_alone_needs_no_server(daemon, management, tunnels):
    await management.stop()
    await daemon.log_out(local=True)
    assert daemon.files.last_map() is None
    assert not StateDir(daemon.files.path).settings().up
    assert daemon.report.state == "NeedsLogin"
    assert tunnels.opened == {}


async def test_leaving_where_the_server_says_that_it_does_not_know_this_machine_is_no_failure(daemon, management):
    management.peers = {}
    await daemon.log_out()
    assert daemon.files.last_map() is None


@pytest.mark.parametrize("text", ["", "denied by policy", "Received http2 header with status: 403"])
async def test_a_refusal_of_login_in_other_words_is_not_taken_for_one_of_managements(daemon, management, until, text):
    management.refusal = grpc.StatusCode.PERMISSION_DENIED, text
    logins = len(management.logins)
    management.tell(daemon.files.key().public.text, None)
    await until(lambda: len(management.logins) > logins)
    assert daemon.report.state != "NeedsLogin"
    assert daemon.files.last_map() is not None
    management.refusal = None
    await until(lambda: daemon.report.state == CONNECTED, 20)
