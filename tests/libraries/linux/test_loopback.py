"""Packets between a WireGuard outside this process and a path that the agent carries."""

import os
import socket
import struct
import sys
from ipaddress import ip_address

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom.testing.namespaces import Internet, missing_programs
from meshloom_linux.loopback import Loopback, checksum, datagram

pytestmark = pytest.mark.anyio

WITHIN = 5
PREFIX = b"header:"

FORGING = """
import asyncio, socket
from meshloom_linux.loopback import Loopback

async def main():
    wireguard = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    wireguard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    wireguard.bind(("::", 0))
    wireguard.settimeout(5)
    loopback = Loopback()
    loopback.use(wireguard.getsockname()[1])
    carrier = loopback.carry(lambda packet: None)
    for source in (("203.0.113.9", 4242), ("2001:db8::9", 4343)):
        carrier.deliver(b"late", source)
        data, (host, port, *_) = wireguard.recvfrom(2000)
        print(data.decode(), host.removeprefix("::ffff:"), port)
    loopback.close()

asyncio.run(main())
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def wireguard():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(WITHIN)
        yield made


@pytest.fixture
async def loopback(wireguard):
    made = Loopback()
    made.use(wireguard.getsockname()[1])
    yield made
    made.close()


async def until(fact):
    with anyio.fail_after(WITHIN):
        while not fact():
            await anyio.lowlevel.checkpoint()


async def test_what_wireguard_sends_is_handed_over_behind_its_header(loopback, wireguard):
    sent = []
    carrier = loopback.carry(lambda packet: sent.append(bytes(packet)), PREFIX)
    for number in range(200):
        wireguard.sendto(b"packet %d" % number, carrier.endpoint)
    await until(lambda: len(sent) == 200)
    assert sent == [PREFIX + b"packet %d" % number for number in range(200)]


async def test_what_is_delivered_comes_from_the_endpoint(loopback, wireguard):
    one, other = loopback.carry(lambda _: None), loopback.carry(lambda _: None)
    for carrier in (one, other):
        carrier.deliver(memoryview(b"hello"))
        assert wireguard.recvfrom(100) == (b"hello", carrier.endpoint)


async def test_nobody_but_wireguard_is_heard(loopback, wireguard):
    sent = []
    carrier = loopback.carry(lambda packet: sent.append(bytes(packet)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.sendto(b"forged", carrier.endpoint)
    wireguard.sendto(b"real", carrier.endpoint)
    await until(lambda: sent)
    assert sent == [b"real"]


async def test_wireguard_may_change_its_port(loopback, wireguard):
    sent = []
    carrier = loopback.carry(lambda packet: sent.append(bytes(packet)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as moved:
        moved.bind(("127.0.0.1", 0))
        loopback.use(moved.getsockname()[1])
        moved.sendto(b"from there", carrier.endpoint)
        await until(lambda: sent)
        carrier.deliver(b"back")
        moved.settimeout(WITHIN)
        assert moved.recv(100) == b"back"


async def test_a_wireguard_that_is_away_is_no_error(loopback, wireguard):
    sent = []
    carrier = loopback.carry(lambda packet: sent.append(bytes(packet)))
    port = wireguard.getsockname()[1]
    wireguard.close()
    for _ in range(3):
        carrier.deliver(b"lost")
        await anyio.lowlevel.checkpoint()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
        again.sendto(b"here again", carrier.endpoint)
        await until(lambda: sent)


async def test_closing_twice_is_no_error(loopback):
    carrier = loopback.carry(lambda _: None)
    carrier.close()
    carrier.close()
    carrier.deliver(b"to nobody")


@given(st.binary(max_size=200))
def test_the_checksum_verifies(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)) + checksum(data)
    assert (total % 0xFFFF == 0) or not data


@pytest.mark.parametrize("source", ["203.0.113.9", "2001:db8::9"])
def test_a_forged_datagram_says_where_it_comes_from(source):
    address = ip_address(source)
    made = datagram(b"payload", address, 4242, 51820)
    assert address.packed in made
    assert made.endswith(struct.pack("!HH", 4242, 51820) + made[-11:-7] + b"payload")


@pytest.mark.privileged
def test_a_late_packet_comes_as_if_from_the_new_endpoint():
    if os.geteuid() != 0:
        pytest.skip("needs root: raw sockets in a network namespace")
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)}: run make setup")
    with Internet() as internet:
        said = internet.host("host").run(sys.executable, "-c", FORGING)
    assert said.splitlines() == ["late 203.0.113.9 4242", "late 2001:db8::9 4343"]
