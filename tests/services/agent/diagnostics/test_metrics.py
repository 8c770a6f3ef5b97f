"""The agent's metrics: bounded labels, right counts, and the port that they are told on."""

import socket

import anyio
import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from meshloom.errors import ConfigError
from meshloom_agent.diagnostics.metrics import open_metrics

pytestmark = pytest.mark.anyio


async def asked(address, request=b"GET /metrics HTTP/1.1\r\n\r\n"):
    host, port = address.rsplit(":", 1)
    data = b""
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(request)
        try:
            while True:
                data += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    return data


def samples(answer):
    body = answer.partition(b"\r\n\r\n")[2].decode()
    return {
        (each.name.removeprefix("meshloom_agent_"), *sorted(each.labels.values())): each.value
        for family in text_string_to_metric_families(body)
        for each in family.samples
    }


async def test_a_connected_agent_is_seen(connected, daemon):
    async with open_metrics(daemon, "127.0.0.1:0") as address:
        found = samples(await asked(address))
    assert found["up",] == 1
    assert found["server_connected", "management"] == found["server_connected", "signal"] == 1
    assert found["peers", "connected", "direct"] == 1
    assert found["peers", "connected", "relayed"] == found["peers", "connecting", "none"] == 0
    assert found["signal_messages_total", "offer", "sent"] >= 1
    received = {key[1] for key, count in found.items() if key[::2] == ("signal_messages_total", "received") and count}
    assert received & {"offer", "answer"}, "candidates may come after the connection"
    assert found["network_maps_total", "applied"] >= 1
    assert found["failures_total",] == 0
    assert found["process_resident_memory_bytes",] > 0


@pytest.fixture
async def away(connected, management, signal):
    """Takes the servers away."""

    async def stop():
        await signal.stop()
        await management.stop()

    return stop


async def test_what_is_lost_and_failed_is_counted_over_restarts(away, daemon, tunnels, until):
    async with open_metrics(daemon, "127.0.0.1:0") as address:
        await away()
        await until(lambda: not daemon.report.management.connected and not daemon.report.signal.connected)
        found = samples(await asked(address))
        assert found["connections_lost_total", "management"] == found["connections_lost_total", "signal"] == 1
        assert found["up",] == 0
        tunnels.lose("test0")
        await until(lambda: daemon.report.counters.failures == 1)
        again = samples(await asked(address))
    assert again["failures_total",] == 1
    assert again["connections_lost_total", "management"] == 1


async def test_paths_are_counted_without_naming_peers(connected, daemon, monkeypatch):
    known = await daemon.peers()

    async def peers():
        path = attrs.evolve(known[0].path, is_relayed=True)
        return [attrs.evolve(known[0], path=path, relay="rels://relay.test:443")] * 3 + known

    monkeypatch.setattr(daemon, "peers", peers)
    async with open_metrics(daemon, "127.0.0.1:0") as address:
        answer = await asked(address)
    assert samples(answer)["peers", "connected", "relayed"] == 3
    assert samples(answer)["peers", "connected", "direct"] == 1
    for name in (known[0].remote.fqdn, known[0].key.text, "relay.test", "192.0.2"):
        assert name.encode() not in answer


async def test_who_asks_wrongly_is_told_and_harms_nobody(daemon):
    async with open_metrics(daemon, "127.0.0.1:0") as address:
        assert (await asked(address, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert (await asked(address, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        assert await asked(address, b"x" * 100_000) == b""
        assert (await asked(address)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_addresses_that_cannot_be_are_refused(daemon):
    with pytest.raises(ConfigError, match="metrics = 'nonsense'"):
        async with open_metrics(daemon, "nonsense"):
            pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"metrics = '{address}': cannot listen there"):
            async with open_metrics(daemon, address):
                pass
