"""Packets between a WireGuard outside this process and a path that the agent carries."""

import socket

import anyio
import pytest

from meshloom.testing.ports import free_port
from meshloom_linux.loopback import Loopback

pytestmark = pytest.mark.anyio

WITHIN = 5
PREFIX = b"header:"


@pytest.fixture
def wireguard():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", free_port()))
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
