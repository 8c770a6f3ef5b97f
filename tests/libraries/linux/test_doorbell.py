"""WireGuard's first packet for a peer without a path rings."""

import os
import socket

import anyio
import pytest

from meshloom_linux.doorbell import MOST, LoopbackDoorbell

pytestmark = [pytest.mark.anyio, pytest.mark.privileged]

WITHIN = 5


@pytest.fixture
def wireguard():
    if os.geteuid() != 0:
        pytest.skip("needs root: the socket is bound to the loopback device")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("", 0))
        yield made


@pytest.fixture
async def rung(wireguard):
    return []


@pytest.fixture
async def doorbell(wireguard, rung):
    made = LoopbackDoorbell(lambda number, packet: rung.append((number, packet)))
    made.use(wireguard.getsockname()[1])
    yield made
    made.close()


async def until(fact):
    with anyio.fail_after(WITHIN):
        while not fact():
            await anyio.lowlevel.checkpoint()


async def test_each_peer_has_an_address_of_its_own(doorbell, wireguard, rung):
    numbers = [0, 1, 255, 256, 65_535, 65_536, MOST - 1]
    assert len({doorbell.endpoint(number) for number in numbers}) == len(numbers)
    for number in numbers:
        wireguard.sendto(b"for %d" % number, doorbell.endpoint(number))
    await until(lambda: len(rung) == len(numbers))
    assert rung == [(number, b"for %d" % number) for number in numbers]


async def test_nobody_but_wireguard_rings(doorbell, wireguard, rung):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.sendto(b"forged", doorbell.endpoint(3))
    wireguard.sendto(b"to another address", ("127.0.0.1", doorbell.endpoint(3)[1]))
    wireguard.sendto(b"real", doorbell.endpoint(3))
    await until(lambda: rung)
    assert rung == [(3, b"real")]


async def test_a_number_beyond_the_last_is_refused(doorbell):
    with pytest.raises(ValueError, match="below"):
        doorbell.endpoint(MOST)


async def test_closing_twice_is_no_error(doorbell):
    doorbell.close()
    doorbell.close()
