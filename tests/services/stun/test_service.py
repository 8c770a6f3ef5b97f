"""The STUN service: answers over both families, and no source more than its share."""

import socket
from contextlib import asynccontextmanager
from socket import AF_INET6

import anyio
import pytest
from prometheus_client import CollectorRegistry

from meshloom.errors import ConfigError
from meshloom.protocol import stun
from meshloom.protocol.nat_discovery import CHANGE_IP, CHANGE_PORT, behaviour_request
from meshloom.testing.ports import free_port
from meshloom_stun.service import StunPorts, run_stun

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_request_is_answered_with_its_source(host):
    port, registry = free_port(), CollectorRegistry()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stun, StunPorts(port), registry)
        async with await anyio.create_connected_udp_socket(host, port) as client:
            request = stun.encode(stun.Kind.REQUEST, b"transaction!")
            answered = None
            with anyio.fail_after(5):
                while answered is None:
                    await client.send(b"rubbish")
                    with anyio.move_on_after(0.2):
                        await client.send(request)
                        answered = stun.parse(await client.receive())
            assert answered.transaction == b"transaction!"
            assert answered.mapped_address == client.extra(anyio.abc.SocketAttribute.local_address)[:2]  # noqa: S610
        tasks.cancel_scope.cancel()
    assert registry.get_sample_value("meshloom_stun_datagrams_total", {"result": "answered"}) >= 1


@pytest.mark.parametrize("flags", [None, 0, CHANGE_PORT])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"])
async def test_the_answer_leaves_from_the_address_that_was_asked(host, flags):
    port = free_port()
    request = stun.encode(stun.Kind.REQUEST, b"transaction!") if flags is None else behaviour_request(b"x" * 12, flags)
    async with serving(StunPorts(port)), await anyio.create_udp_socket(local_host="::", family=AF_INET6) as client:
        told, source = await asked(client, request, (host if ":" in host else f"::ffff:{host}", port))
        assert (source[0].removeprefix("::ffff:"), source[1]) == (host, port + (flags == CHANGE_PORT))
        if flags is not None:
            assert told.plain_address(stun.Attribute.RESPONSE_ORIGIN)[0] == host
            assert told.plain_address(stun.Attribute.OTHER_ADDRESS) == (host, port + 1)


@asynccontextmanager
async def serving(ports):
    """Run the service, and wait until it answers."""
    registry = CollectorRegistry()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stun, ports, registry)
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as client:
            await asked(client, stun.encode(stun.Kind.REQUEST, b"are you here"), ("127.0.0.1", ports.port))
        yield registry
        tasks.cancel_scope.cancel()


async def asked(client, request, server, within=5.0):
    """The answer and its source; None where there is none in time."""
    with anyio.move_on_after(within):
        while True:
            await client.sendto(request, *server)
            with anyio.move_on_after(0.2):
                data, source = await client.receive()
                return stun.parse(data), source[:2]
    return None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_who_asks_how_a_nat_behaves_is_answered_from_the_other_port(host):
    port = free_port()
    async with serving(StunPorts(port)), await anyio.create_udp_socket(local_host=host) as client:
        told, source = await asked(client, behaviour_request(b"transaction!"), (host, port))
        assert source == (host, port)
        assert told.plain_address(stun.Attribute.OTHER_ADDRESS) == (host, port + 1)
        assert told.plain_address(stun.Attribute.RESPONSE_ORIGIN) == (host, port)
        _, source = await asked(client, behaviour_request(b"transaction!", CHANGE_PORT), (host, port))
        assert source == (host, port + 1)
        _, source = await asked(client, behaviour_request(b"transaction!", CHANGE_PORT), (host, port + 1))
        assert source == (host, port)
        assert await asked(client, behaviour_request(b"transaction!", CHANGE_IP), (host, port), within=0.5) is None
        plain, _ = await asked(client, behaviour_request(b"transaction!", 0, size=28), (host, port))
        assert set(plain.attributes) == {stun.Attribute.XOR_MAPPED_ADDRESS}, "no more than was sent"


async def test_with_a_second_address_both_change():
    port, other, home = free_port(), "127.0.0.2", "127.0.0.1"
    async with serving(StunPorts(port, 0, other)), await anyio.create_udp_socket(local_host=home) as client:
        told, _ = await asked(client, behaviour_request(b"transaction!"), (home, port))
        assert told.plain_address(stun.Attribute.OTHER_ADDRESS) == (other, port + 1)
        leaves = {}
        for flags in (0, CHANGE_PORT, CHANGE_IP, CHANGE_IP | CHANGE_PORT):
            for asked_at in ((home, port), (other, port)):
                _, leaves[flags, asked_at] = await asked(client, behaviour_request(b"transaction!", flags), asked_at)
        assert leaves[CHANGE_IP | CHANGE_PORT, (home, port)] == (other, port + 1)
        assert leaves[CHANGE_IP, (home, port)] == (other, port)
        assert leaves[CHANGE_IP, (other, port)] == (home, port)
        assert leaves[CHANGE_PORT, (other, port)] == (other, port + 1)
        assert leaves[0, (other, port)] == (other, port)


async def test_a_taken_alternate_port_is_said_and_no_reason_to_fall(caplog):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        port = free_port()
        async with (
            serving(StunPorts(port, taken.getsockname()[1])),
            await anyio.create_udp_socket(local_host="127.0.0.1") as client,
        ):
            told, _ = await asked(client, behaviour_request(b"transaction!"), ("127.0.0.1", port))
            assert set(told.attributes) == {stun.Attribute.XOR_MAPPED_ADDRESS}
    assert "stun_alternate_port" in caplog.text


async def test_an_alternate_address_that_is_not_this_hosts_is_refused():
    with pytest.raises(ConfigError, match=r"stun_alternate_address = '192\.0\.2\.1'.*give an address of this host"):
        await run_stun(StunPorts(free_port(), 0, "192.0.2.1"), CollectorRegistry())
