"""Where a request comes from that passes proxies: what a believed one says counts, and nothing that others invent."""

import asyncio
from ipaddress import ip_network

import anyio
import attrs
import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_front.callers import NETWORK_BURST, Caller, Callers
from meshloom_front.config import ServerConfig
from meshloom_front.forwarded import LOOPBACK, NOBODY, Proxies
from meshloom_front.http import http_protocol
from meshloom_front.port import PortLimits, SharedTCPPort, open_port
from meshloom_front.rpc.call import plain, service
from meshloom_front.rpc.server import RPC

PROXIES = Proxies([*LOOPBACK, ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")])


@pytest.mark.parametrize(
    ("said", "origin"),
    [
        ("", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.9,192.0.2.1,10.0.0.3", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.3 ,\t10.0.0.4", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB8::0001", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 2001:db8:1::7", "192.0.2.1"),
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5, 10.0.0.6", "10.0.0.5"),
        ("unknown", "127.0.0.1"),
        ("192.0.2.1, unknown", "127.0.0.1"),
        ("192.0.2.1, _hidden, 10.0.0.3", "10.0.0.3"),
        ("192.0.2.1,", "127.0.0.1"),
        (",", "127.0.0.1"),
        ("192.0.2.1, \xff\xfe", "127.0.0.1"),
        ("1" * 16_000, "127.0.0.1"),
        ("10.0.0.3," * 2000 + "10.0.0.3", "10.0.0.3"),
    ],
)
def test_the_last_address_that_no_believed_proxy_stands_for_is_where_a_request_comes_from(said, origin):
    assert PROXIES.origin("127.0.0.1", said.encode("latin-1")) == origin


@pytest.mark.parametrize("proxies", [NOBODY, PROXIES])
def test_nobody_else_is_believed(proxies):
    for address in ("192.0.2.66", "2001:db8::66", "::ffff:192.0.2.66", "", "not an address"):
        assert proxies.origin(address, b"198.51.100.9") == address


def test_a_proxy_is_believed_whatever_family_its_connection_has():
    assert PROXIES.origin("::ffff:10.0.0.2", b"192.0.2.1") == "192.0.2.1"
    assert PROXIES.origin("::1", b"192.0.2.1") == "192.0.2.1"


@given(st.binary(max_size=200), st.ip_addresses().filter(lambda address: not PROXIES.trusts(str(address))))
def test_nothing_that_a_client_puts_before_changes_it(invented, address):
    alone = PROXIES.origin("127.0.0.1", str(address).encode())
    assert PROXIES.origin("127.0.0.1", invented + b", " + str(address).encode()) == alone


@pytest.mark.parametrize(
    ("listen", "given", "believed"),
    [
        (":80", (), ()),
        ("0.0.0.0:80", (), ()),
        ("[::]:80", (), ()),
        ("203.0.113.10:80", (), ()),
        ("127.0.0.1:8080", (), LOOPBACK),
        ("[::1]:8080", (), LOOPBACK),
        ("localhost:8080", (), LOOPBACK),
        (":80", (ip_network("10.0.0.2/32"),), (ip_network("10.0.0.2/32"),)),
        ("127.0.0.1:8080", (ip_network("10.0.0.2/32"),), (ip_network("10.0.0.2/32"),)),
    ],
)
def test_only_a_server_that_others_do_not_reach_believes_loopback_unasked(listen, given, believed):
    """What comes from loopback elsewhere may be any process of the host, and need not be a proxy."""
    assert ServerConfig(listen=listen, trusted_proxies=given).believed_proxies == believed


@pytest.mark.anyio
class TestConnections:
    """What counts for an address counts for the one that a proxy names."""

    async def test_a_connection_counts_for_the_network_that_a_proxy_names_as_old_as_it_was(self):
        callers = Callers(proxies=PROXIES, clock=lambda: 0.0)
        made = [Caller(callers, "127.0.0.1", 0, int, lambda: None) for _ in range(4)]
        made[0].origin(b"192.0.2.1")
        made[3].origin(b"192.0.2.1")
        made[1].accept()
        made[1].origin(b"192.0.2.2")
        assert [callers.new.count(each) for each in ("127.0.0.1", "192.0.2.1", "192.0.2.2")] == [1, 2, 0]
        assert callers.accepted.count("192.0.2.2") == 1
        assert callers.new.oldest() is made[0]
        for each in made:
            each.gone()
        assert len(callers.new) + len(callers.accepted) + len(callers.open) == 0

    async def test_a_stranger_does_not_use_up_what_others_behind_the_same_proxy_may_cost(self):
        callers = Callers(proxies=PROXIES, clock=lambda: 0.0)
        for _ in range(10):
            stranger = Caller(callers, "127.0.0.1", 0, int, lambda: None)
            stranger.spend(NETWORK_BURST / 10)
            stranger.origin(b"192.0.2.66")
            stranger.spend(NETWORK_BURST / 10)
        assert callers.turns.network("192.0.2.66").pace.rest() > 0
        assert callers.turns.network("127.0.0.1").pace.rest() == callers.turns.network("192.0.2.1").pace.rest() == 0

    async def test_what_a_known_caller_has_cost_is_given_back_to_its_own_network(self):
        callers = Callers(proxies=PROXIES, clock=lambda: 0.0)
        machine = Caller(callers, "127.0.0.1", 0, int, lambda: None)
        machine.spend(2 * NETWORK_BURST)
        machine.origin(b"192.0.2.1")
        assert callers.turns.network("192.0.2.1").pace.rest() > 0
        machine.prove()
        assert callers.turns.network("192.0.2.1").pace.rest() == callers.turns.network("127.0.0.1").pace.rest() == 0

    async def test_a_network_has_no_more_than_its_share_behind_a_proxy_either(self):
        callers, ended = Callers(proxies=PROXIES), []
        for number in range(40):
            assert callers.make_room("127.0.0.1", len(callers), 40)
            machine = Caller(callers, "127.0.0.1", 0, int, lambda number=number: ended.append(number))
            machine.origin(b"192.0.2.66" if number >= 10 else b"192.0.2.%d" % number)
        assert callers.new.count("192.0.2.66") < 30
        assert all(number >= 10 for number in ended), "only the one that has too many gives way to itself"


@pytest.mark.anyio
async def test_what_one_has_shown_by_a_proxys_connection_counts_for_no_other():
    callers = Callers(proxies=PROXIES)
    caller = Caller(callers, "127.0.0.1", 0, int, list)
    caller.origin(b"192.0.2.1", alone=True)
    caller.prove()
    caller.origin(b"192.0.2.1", alone=True)
    assert caller.proven
    caller.origin(b"192.0.2.2")
    assert caller.proven, "a stream of who has shown it is open"
    caller.origin(b"192.0.2.2", alone=True)
    assert not caller.proven
    assert caller in callers.new
    assert caller.left() > 0
    assert len(callers.budget.strangers.holdings) == 1
    caller.spend(1.0)
    assert not caller.may_go_on(), "it costs, and has to wait"


@attrs.define
class Port:
    number: int
    seen: list


async def app(scope, receive, send):
    """Says where the request comes from."""
    body = scope["client"][0].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=[PROXIES, NOBODY], ids=["believed", "not believed"])
def proxies(request):
    return request.param


@pytest.fixture
async def port(proxies):
    rpc = RPC([service("t.T", {"Where": plain(lambda _, call: f"{call.address} {call.is_forwarded}".encode())})])
    rpc.callers.proxies = proxies
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    listening = server.sockets[0].dup()
    server.close()
    async with open_port(SharedTCPPort(http_protocol(app), rpc, PortLimits()), listening, None):
        yield listening.getsockname()[1]


@pytest.mark.anyio
@pytest.mark.parametrize("pieces", [("198.51.100.9, 192.0.2.1",), ("198.51.100.9", "192.0.2.1")])
class TestOverTheWire:
    """On one port, by both protocols."""

    async def test_a_grpc_service_is_told_where_a_call_comes_from(self, port, proxies, pieces):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            where = channel.unary_unary("/t.T/Where")
            said = await where(b"", metadata=[("x-forwarded-for", each) for each in pieces])
            assert said == (b"192.0.2.1 True" if proxies is PROXIES else b"127.0.0.1 False")
            assert await where(b"") == b"127.0.0.1 False"

    async def test_an_application_is_told_where_a_request_comes_from(self, port, proxies, pieces, monkeypatch):
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for head in ("".join(f"X-Forwarded-For: {each}\r\n" for each in pieces), ""):
            writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
            with anyio.fail_after(5):
                answer = await reader.readuntil(b"\r\n\r\n")
                size = int(answer.lower().partition(b"content-length:")[2].split()[0])
                body = await reader.readexactly(size)
            assert body == (b"192.0.2.1" if head and proxies is PROXIES else b"127.0.0.1")
        writer.close()
