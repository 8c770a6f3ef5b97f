"""The agent's metrics for Prometheus; labels have few values, none is a peer's."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meshloom import __version__
from meshloom.errors import ConfigError
from meshloom.port_holder import why_not_bound
from meshloom_agent.checked import metrics_address
from meshloom_agent.daemon import Daemon
from meshloom_agent.report import CONNECTED, PeerReport, Report

_log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_WITHIN = 5.0
MOST_REQUESTS = 16
PATHS = (("connected", "direct"), ("connected", "relayed"), ("connecting", "none"), ("idle", "none"))


@attrs.frozen(eq=False)
class Snapshot(Collector):
    """The metrics of one moment."""

    report: Report
    peers: Sequence[PeerReport]

    def collect(self) -> Iterator[Metric]:
        """Each with all of its samples."""
        report, counters = self.report, self.report.counters
        yield _gauge("info", "Version of the agent", {(__version__,): 1}, "version")
        yield _gauge("up", "Whether it is connected to management and signal", {(): report.state == CONNECTED})
        servers = {("management",): report.management.connected, ("signal",): report.signal.connected}
        yield _gauge("server_connected", "Whether that server is connected", servers, "server")
        paths = dict.fromkeys(PATHS, 0) | Counter(map(_path, self.peers))
        yield _gauge("peers", "Peers of the network map", paths, "state", "path")
        relays = {
            ("available",): sum(each.available for each in report.relays),
            ("unavailable",): sum(not each.available for each in report.relays),
        }
        yield _gauge("relays", "Relays and TURN servers in use", relays, "state")
        transferred = {
            ("received",): sum(each.stats.rx_bytes for each in self.peers),
            ("sent",): sum(each.stats.tx_bytes for each in self.peers),
        }
        yield _gauge("peer_bytes", "Bytes to and from the peers there are now", transferred, "direction")
        messages = {("sent", kind): count for kind, count in counters.sent.items()}
        messages |= {("received", kind): count for kind, count in counters.received.items()}
        yield _counter("signal_messages", "Signal messages, such as offers", messages, "direction", "kind")
        lost = {(server,): counters.lost[server] for server in ("management", "signal")}
        yield _counter("connections_lost", "How often a server's connection was lost", lost, "server")
        maps = {("applied",): counters.maps, ("refused",): counters.refused_maps}
        yield _counter("network_maps", "Network maps that came", maps, "result")
        refused = {(): counters.refused_relays}
        yield _counter("refused_relays", "Offers and answers whose relay is not the address of one", refused)
        yield _counter("handshakes", "Handshakes of WireGuard that were noticed", {(): counters.handshakes})
        yield _counter("put_back", "How often something else had changed the interface", {(): counters.put_back})
        yield _counter("failures", "How often the tunnel had to be started anew", {(): counters.failures})


def rendered(snapshot: Snapshot) -> bytes:
    """In Prometheus' text format, with the process's own figures."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(snapshot)
    return generate_latest(registry)


@asynccontextmanager
async def open_metrics(daemon: Daemon, address: str) -> AsyncIterator[str]:
    """Serve ``/metrics`` on ``host:port`` until leaving; yields the address as it is in use.

    Raises:
        ConfigError: It is no address, taken, or not allowed.
    """
    host, port = metrics_address(address)
    serving = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal serving
        serving += 1
        try:
            if serving <= MOST_REQUESTS:
                with anyio.move_on_after(REQUEST_WITHIN):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await _answer(daemon, request.partition(b"\r\n")[0]))
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or did not ask
        finally:
            serving -= 1
            writer.close()

    try:
        server = await asyncio.start_server(serve, host or None, port, limit=8192)
    except OSError as error:
        why = why_not_bound(error, host, port, socket.SOCK_STREAM)
        raise ConfigError(f"metrics = {address!r}: cannot listen there: {why}") from error
    async with server:
        shown = f"[{host}]" if ":" in host else host
        used = f"{shown}:{server.sockets[0].getsockname()[1]}"
        _log.info("metrics at http://%s/metrics", used)
        yield used


async def _answer(daemon: Daemon, line: bytes) -> bytes:
    method, _, rest = line.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status, kind, body = "200 OK", CONTENT_TYPE, b""
    if method != b"GET":
        status, kind, body = "405 Method Not Allowed", "text/plain", b"only GET\n"
    elif path != b"/metrics":
        status, kind, body = "404 Not Found", "text/plain", b"see /metrics\n"
    else:
        body = rendered(Snapshot(daemon.report, await daemon.peers()))
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _path(peer: PeerReport) -> tuple[str, ...]:
    state = peer.path.state.lower()
    if state != "connected":
        return state, "none"
    return state, "relayed" if peer.path.is_relayed else "direct"


def _gauge(name: str, about: str, values: Mapping[Any, float], *labels: str) -> Metric:
    made = GaugeMetricFamily(f"meshloom_agent_{name}", about, labels=labels)
    for each, value in values.items():
        made.add_metric(each, float(value))
    return made


def _counter(name: str, about: str, values: Mapping[Any, int], *labels: str) -> Metric:
    made = CounterMetricFamily(f"meshloom_agent_{name}", about, labels=labels)
    for each, value in values.items():
        made.add_metric(each, value)
    return made
