"""The socket's batches, where the kernel has no room."""

import errno
import socket

import pytest

from meshloom_transport_quic.sockets import QUEUE, Port

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair(tmp_path):
    """Two sockets of a kind whose receiver can be full."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        one.bind(str(tmp_path / "one"))
        other.bind(str(tmp_path / "other"))
        other.setblocking(False)
        yield one, other


class Told:
    def __init__(self):
        self.received, self.batches, self.failures, self.too_large = [], 0, [], []

    def on(self, made):
        def batch_ended():
            self.batches += 1

        def received(data, address, now):
            self.received.append(data)

        return Port(made, received, batch_ended, self.failures.append, self.too_large.append)


async def test_what_the_kernel_has_no_room_for_follows_in_order(ends, pair, tmp_path):
    one, other = pair
    told = Told()
    port = told.on(one)
    sent = [number.to_bytes(2) for number in range(500)]
    for data in sent:
        port.send(data, str(tmp_path / "other"))
    assert port._waiting
    got = []

    def all_came():
        try:
            got.append(other.recv(10))
        except BlockingIOError:
            return False
        return len(got) == len(sent)

    await ends.until(all_came)
    assert got == sent
    assert not port._waiting
    port.close()


async def test_what_waits_for_the_kernel_is_bounded_and_the_oldest_gives_way(pair, tmp_path):
    one, _ = pair
    port = Told().on(one)
    for number in range(QUEUE + 500):
        port.send(number.to_bytes(2), str(tmp_path / "other"))
    assert len(port._waiting) == QUEUE
    assert port._waiting[-1][0] == (QUEUE + 499).to_bytes(2)
    port.close()


async def test_many_datagrams_are_one_batch(ends, pair, tmp_path):
    one, other = pair
    told = Told()
    port = told.on(one)
    for number in range(8):
        other.sendto(bytes([number]), str(tmp_path / "one"))
    await ends.until(lambda: len(told.received) == 8)
    assert told.batches == 1
    port.close()


async def test_a_failure_to_send_is_told_and_a_size_apart():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        told = Told()
        port = told.on(made)
        port.send(bytes(70_000), ("127.0.0.1", 9))
        port.send(b"x", ("255.255.255.255", 9))
        port.close()
    assert told.too_large == [("127.0.0.1", 9)]
    assert [error.errno for error in told.failures] == [errno.EACCES]
