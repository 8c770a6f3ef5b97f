"""A port of the router: asked for, renewed, given back."""

import asyncio
import struct
from contextlib import asynccontextmanager
from ipaddress import IPv6Address

import anyio
import pytest

from meshloom.testing.ports import own_address
from meshloom_agent import port_mapping
from meshloom_agent.port_mapping import PortMapper
from meshloom_agent.port_protocols import PCP, NatPmp

pytestmark = pytest.mark.anyio

ROUTER = own_address()
"""This process's alone, since the router's port is fixed."""
OUTER = "203.0.113.5"


class Router(asyncio.DatagramProtocol):
    """A small one; does as RFC 6887 or RFC 6886 says, and remembers what it was asked for."""

    def __init__(self, protocol):
        self.protocol, self.leases, self.outer_port, self.refuses = protocol, [], 40000, False
        self.lease = 7200

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, source):
        if data[0] == 2 and self.protocol == "NAT-PMP":
            self.transport.sendto(b"\0\x80\0\1" + bytes(4), source)
        elif data[0] == 2:
            asked = int.from_bytes(data[4:8])
            self.leases.append((asked, int.from_bytes(data[40:42])))
            head = struct.pack("!BBBBII12x", 2, 0x81, 0, 2 if self.refuses else 0, min(asked, self.lease), 1)
            address = IPv6Address(f"::ffff:{OUTER}").packed
            self.transport.sendto(head + data[24:42] + self.outer_port.to_bytes(2) + address, source)
        elif self.protocol == "PCP":
            pass
        elif data[1] == 0:
            self.transport.sendto(b"\0\x80\0\0" + bytes(4) + b"\xcb\0\x71\x05", source)
        else:
            inner, _, asked = struct.unpack("!HHI", data[4:12])
            self.leases.append((asked, inner))
            answer = struct.pack("!BBHIHHI", 0, 129, 0, 1, inner, self.outer_port, min(asked, self.lease))
            self.transport.sendto(answer, source)


@asynccontextmanager
async def routing(protocol):
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(lambda: Router(protocol), local_addr=(ROUTER, 5351))
    try:
        yield made
    finally:
        transport.close()


@asynccontextmanager
async def mapping(port=51820, gateway=lambda: ROUTER):
    seen = []
    mapper = PortMapper(lambda: seen.append(dict(mapper.mapped)), gateway, lambda: (PCP, NatPmp))
    mapper.seen = seen
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mapper.run)
        mapper.follow(port)
        yield mapper
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", ["PCP", "NAT-PMP"])
async def test_a_port_is_had_and_given_back(until, protocol):
    async with routing(protocol) as router:
        async with mapping() as mapper:
            await until(lambda: mapper.mapped)
            assert mapper.mapped == {(OUTER, 40000): ("127.0.0.1", 51820)}
            assert mapper.protocol == protocol
            assert router.leases == [(7200, 51820)]
        assert mapper.mapped == {}
        await until(lambda: router.leases[-1] == (0, 51820))


async def test_it_is_renewed_at_half_of_what_the_router_gives(until, monkeypatch):
    monkeypatch.setattr(port_mapping, "SHORTEST_RENEWAL", 0.1)
    async with routing("PCP") as router:
        router.lease = 1
        async with mapping() as mapper:
            await until(lambda: len(router.leases) == 3)
            assert mapper.seen == [{(OUTER, 40000): ("127.0.0.1", 51820)}]
            router.outer_port = 40001
            await until(lambda: (OUTER, 40001) in mapper.mapped)
            router.refuses = True
            await until(lambda: not mapper.mapped)


async def test_another_port_of_ours_is_asked_for_and_the_old_one_given_back(until):
    async with routing("NAT-PMP") as router, mapping() as mapper:
        await until(lambda: mapper.mapped)
        mapper.follow(51821)
        await until(lambda: mapper.mapped == {(OUTER, 40000): ("127.0.0.1", 51821)})
        assert router.leases == [(7200, 51820), (0, 51820), (7200, 51821)]


async def test_a_network_that_changed_for_others_keeps_the_lease(until):
    async with routing("PCP") as router, mapping() as mapper:
        await until(lambda: mapper.mapped)
        mapper.renew()
        await until(lambda: len(router.leases) == 2)
        assert len(mapper.seen) == 1


async def test_a_router_that_comes_later_is_asked_when_the_network_changes(until):
    found = [None]
    async with routing("PCP"), mapping(gateway=lambda: found[0]) as mapper:
        assert not mapper.mapped
        found[0] = ROUTER
        mapper.renew()
        await until(lambda: mapper.mapped)
