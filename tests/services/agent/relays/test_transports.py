"""The same driver over each real transport, to the real relay on one port: TLS, and a network without TCP or UDP."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

import meshloom_transport_picows
import meshloom_transport_quic
import meshloom_transport_websocket
from meshloom.testing.certificates import make_certificate
from meshloom.testing.slow_line import SlowLine
from meshloom.testing.transport_ground import until
from meshloom.transport import TransportContext
from meshloom_agent.relays import NamedTransport
from meshloom_relay.limits import RelayLimits
from meshloom_relay.service import Relay

pytestmark = pytest.mark.anyio

PLUGINS = {
    "quic": meshloom_transport_quic,
    "picows": meshloom_transport_picows,
    "websocket": meshloom_transport_websocket,
}
STREAM, DATAGRAM = "picows", "quic"


@pytest.fixture
def anyio_backend():
    """Real sockets take real time."""
    return "asyncio"


def both_ports():
    """A TCP port and the UDP port of the same number."""
    while True:
        stream = socket.create_server(("127.0.0.1", 0))
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagram.bind(stream.getsockname())
        except OSError:
            stream.close()
            datagram.close()
            continue
        datagram.setblocking(False)
        return stream, datagram


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path, "127.0.0.1", "localhost")


class Ground:
    """A relay on one port by TCP and UDP, and what agents open."""

    def __init__(self, stack, folder):
        self.stack, self.folder, self.relay, self.url = stack, folder, None, ""

    async def transports(self, *names, roots=b""):
        made = []
        for name in names:
            (backend,) = PLUGINS[name].meshloom_transports()
            opened = backend.open(backend.options(), TransportContext(extra_roots=roots))
            made.append(NamedTransport(name, await self.stack.enter_async_context(opened)))
        return made

    async def serve(self, secret, now, *, certificate=None, tcp=True, udp=True):
        stream, datagram = both_ports()
        self.url = f"{'rels' if certificate else 'rel'}://127.0.0.1:{stream.getsockname()[1]}"
        self.relay = Relay(
            self.url, [secret], RelayLimits(), CollectorRegistry(), monotonic=asyncio.get_running_loop().time, now=now
        )
        over_tcp, over_udp = await self.transports(STREAM, DATAGRAM)
        if tcp:
            await self.stack.enter_async_context(self._streams(over_tcp.transport, stream, certificate))
        else:
            stream.close()
        if udp:
            shown = (lambda: (certificate.chain, certificate.key)) if certificate else None
            self.stack.callback(datagram.close)
            await self.stack.enter_async_context(over_udp.transport.serve(datagram, shown, self.relay.accept))
        else:
            datagram.close()

    @asynccontextmanager
    async def _streams(self, transport, listening, certificate):
        tls = None
        if certificate is not None:
            (self.folder / "chain").write_bytes(certificate.chain)
            (self.folder / "key").write_bytes(certificate.key)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.folder / "chain", self.folder / "key")
        protocol = transport.stream_protocol(self.relay.accept)
        server = await asyncio.get_running_loop().create_server(protocol, sock=listening, ssl=tls)
        try:
            yield
        finally:
            server.close()


@pytest.fixture
async def ground(tmp_path, anyio_backend):
    async with AsyncExitStack() as stack:
        yield Ground(stack, tmp_path)


def carrier(agent, url):
    session = agent.links.session(url)
    return session.connection.transport if session is not None else None


async def meet(world, ground, first, second):
    """Two agents on the one relay, each with its transports, talk."""
    one, two = world.agent(1, transports=first), world.agent(2, transports=second)
    for each in (one, two):
        each.set_servers(ground.url)
    await until(lambda: one.home and two.home)
    one.want((two, one.home))
    two.want((one, one.home))
    await until(lambda: one.reaches(two) and two.reaches(one))
    await world.talk(one, two)
    return one, two


@pytest.fixture
def serve(ground, world):
    return lambda **how: ground.serve("a secret", lambda: world.now, **how)


@pytest.mark.parametrize("first", PLUGINS)
@pytest.mark.parametrize("second", PLUGINS)
async def test_agents_meet_over_any_two_transports(world, ground, serve, first, second):
    await serve()
    one, two = await meet(world, ground, await ground.transports(first), await ground.transports(second))
    assert (carrier(one, ground.url), carrier(two, ground.url)) == (first, second)


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_root_of_ones_own_is_trusted_when_it_is_given(world, ground, serve, certificate, name):
    await serve(certificate=certificate)
    trusting = [await ground.transports(name, roots=certificate.chain) for _ in "ab"]
    await meet(world, ground, *trusting)


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_certificate_that_is_not_trusted_is_no_relay_and_the_reason_is_told(
    world, ground, serve, certificate, name
):
    await serve(certificate=certificate)
    agent = world.agent(1, transports=await ground.transports(name))
    agent.set_servers(ground.url)
    await until(lambda: agent.links.errors.get(ground.url))
    assert "certificate" in agent.links.errors[ground.url].lower()
    assert agent.home is None


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_certificate_for_another_name_is_no_relay(world, ground, serve, tmp_path, name):
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other", "relay.test")
    await serve(certificate=other)
    agent = world.agent(1, transports=await ground.transports(name, roots=other.chain))
    agent.set_servers(ground.url)
    await until(lambda: agent.links.errors.get(ground.url))
    assert agent.home is None


async def test_a_certificate_that_one_transport_trusts_is_enough(world, ground, serve, certificate):
    await serve(certificate=certificate)
    mixed = [*await ground.transports(DATAGRAM), *await ground.transports(STREAM, roots=certificate.chain)]
    agent = world.agent(1, transports=mixed)
    agent.set_servers(ground.url)
    await until(lambda: carrier(agent, ground.url) == STREAM)


@pytest.mark.parametrize("order", [(STREAM, DATAGRAM), (DATAGRAM, STREAM)])
async def test_the_first_of_the_list_is_used(world, ground, serve, order):
    await serve()
    agent = world.agent(1, transports=await ground.transports(*order))
    agent.set_servers(ground.url)
    await until(lambda: agent.home)
    assert carrier(agent, ground.url) == order[0]


@pytest.mark.parametrize("order", [(STREAM, DATAGRAM), (DATAGRAM, STREAM)])
@pytest.mark.parametrize("tcp", [True, False])
async def test_a_relay_that_is_not_reached_by_udp_is_by_tcp_and_the_other_way_round(world, ground, serve, order, tcp):
    await serve(tcp=tcp, udp=not tcp)
    agent = world.agent(1, transports=await ground.transports(*order))
    agent.set_servers(ground.url)
    await until(lambda: agent.home)
    assert carrier(agent, ground.url) == (STREAM if tcp else DATAGRAM)


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_bad_token_is_refused_over_each_of_them(world, ground, serve, shown, name):
    await serve()
    agent = world.agent(1, transports=await ground.transports(name), shown=shown("another secret"))
    agent.set_servers(ground.url)
    await until(lambda: agent.links.errors.get(ground.url))
    assert agent.links.errors[ground.url].startswith(f"the relay {ground.url} refuses: ")
    agent.token = shown()
    agent.links.tokens_changed()
    await until(lambda: agent.home == ground.url)


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_relay_that_drains_says_so_over_each_of_them(world, ground, serve, name):
    await serve()
    one, two = await meet(world, ground, await ground.transports(name), await ground.transports(name))
    await ground.relay.drain()
    await until(lambda: one.lost and two.lost)
    assert one.lost == [f"{ground.url}: the relay said that it closes"]


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_changed_network_renews_over_each_of_them_and_no_peer_is_lost(world, ground, serve, name):
    await serve()
    one, two = await meet(world, ground, await ground.transports(name), await ground.transports(name))
    before = one.links.session(ground.url)
    one.links.renew()
    await until(lambda: one.links.session(ground.url) is not before and one.reaches(two))
    await until(lambda: len(ground.relay) == 2)
    await world.talk(one, two)
    assert one.lost == two.lost == []


async def test_packets_of_full_size_fit_into_quic_once_it_has_measured_the_path(world, ground, serve):
    await serve()
    both = [await ground.transports(DATAGRAM, STREAM) for _ in "ab"]
    one, two = await meet(world, ground, *both)
    await until(lambda: all(each.links.session(ground.url).connection.max_message_size >= 1350 for each in (one, two)))
    before = len(two.packets)
    await until(lambda: one.send(two, bytes(1312)) and two.packets[before:])
    assert two.packets[-1] == (one.key, bytes(1312))
    assert carrier(one, ground.url) == DATAGRAM


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_relay_is_connected_to_on_a_line_with_a_round_trip_of_a_second_and_a_half(
    world, ground, serve, certificate, name
):
    await serve(certificate=certificate)
    line, port = SlowLine(1.5), int(ground.url.rpartition(":")[2])
    async with line.udp(port) if name == "quic" else line.tcp(port) as near:
        agent = world.agent(1, transports=await ground.transports(name, roots=certificate.chain))
        agent.set_servers(f"rels://127.0.0.1:{near}")
        await until(lambda: agent.home)
        assert set(agent.links.errors.values()) == {""}
