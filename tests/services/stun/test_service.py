"""The STUN service: answers over both families, and no source more than its share."""

import socket

import anyio
import pytest
from prometheus_client import CollectorRegistry

from meshloom.protocol import stun
from meshloom_stun.service import RateLimit, run_stun

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_request_is_answered_with_its_source(host):
    port, registry = free_port(), CollectorRegistry()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stun, port, registry)
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


def test_a_source_gets_its_share_and_others_theirs():
    limit = RateLimit(per_second=10, burst=5)
    assert [limit.allows("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limit.allows("b", 0.0)
    assert limit.allows("a", 0.1)
    assert not limit.allows("a", 0.1)


def test_the_table_of_sources_is_bounded():
    limit = RateLimit(sources=100)
    for number in range(10_000):
        limit.allows(str(number), 0.0)
    assert len(limit) == 100
