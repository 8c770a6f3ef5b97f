"""Going up over lines on which a round trip takes a second and a half, as by satellite or through a full radio cell."""

import grpc
import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom.testing.certificates import make_certificate
from meshloom.testing.slow_line import SlowLine
from meshloom_agent.daemon import Daemon
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.files import StateDir

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"
ROUND_TRIP, LOSS = 1.5, 0.1


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path, "127.0.0.1", "localhost")


async def over_tls(server, certificate):
    await server.stop()
    credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
    made = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.register(made)
    server.port = made.add_secure_port("127.0.0.1:0", credentials)
    await made.start()
    server._server = made


@pytest.fixture
async def slow_daemon(tmp_path, tunnels, management, signal, certificate):
    """One that trusts the certificate which both servers show."""
    for server in (management, signal):
        await over_tls(server, certificate)
    socket = tmp_path / "run" / "tls.sock"
    made = Daemon(StateDir(tmp_path / "tls"), tunnels.chosen, certificate.chain)
    async with made.running(), open_socket(made, socket):
        yield made, socket


async def test_a_machine_joins_and_connects_without_tls(daemon, management, signal, meshloom):
    line = SlowLine(ROUND_TRIP)
    async with line.tcp(management.port) as port, line.tcp(signal.port) as signal_port:
        management.signal_target = f"127.0.0.1:{signal_port}"
        done = await meshloom("up", "-m", f"http://127.0.0.1:{port}", "-k", SETUP_KEY, "--interface-name", "test0")
        assert (done.code, done.out.partition(" as ")[0]) == (0, "Connected"), done.err
        assert daemon.report.counters.lost["management"] == 0


async def test_a_machine_joins_and_connects_with_tls_where_a_tenth_is_lost(slow_daemon, management, signal, run):
    made, socket = slow_daemon
    line = SlowLine(ROUND_TRIP, LOSS)
    async with line.tcp(management.port) as port, line.tcp(signal.port) as signal_port:
        management.signal_target, management.signal_protocol = f"127.0.0.1:{signal_port}", pb.HostConfig.HTTPS
        up = ("up", "-m", f"https://127.0.0.1:{port}", "-k", SETUP_KEY, "--interface-name", "test0")
        done = await run(*up, "--daemon-addr", f"unix://{socket}")
        assert (done.code, done.out.partition(" as ")[0]) == (0, "Connected"), done.err
        assert made.report.signal.url.startswith("https://")
        await made.pause()
