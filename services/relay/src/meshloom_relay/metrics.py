"""What a relay counts: plain numbers, which Prometheus's are made from when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@attrs.define
class Traffic:
    """Of one transport: peers on it, what they sent, and what they were sent."""

    peers: int = 0
    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0


@attrs.define
class Counts:
    """Of one relay.

    Args:
        dropped: Packets by reason.
        ended: Connections by reason.
        unwatched: Others that peers wanted to hear of, for which there was no room.
    """

    traffic: dict[str, Traffic] = attrs.field(factory=dict)
    dropped: Counter[str] = attrs.field(factory=Counter)
    ended: Counter[str] = attrs.field(factory=Counter)
    unwatched: int = 0

    def of(self, transport: str) -> Traffic:
        """Those of a transport."""
        return self.traffic.setdefault(transport, Traffic())


class RelayCollector:
    """Metrics of a relay, for a registry."""

    def __init__(self, counts: Counts, waiting: Callable[[], int], queued: Callable[[], int]) -> None:
        self._counts, self._waiting, self._queued = counts, waiting, queued

    def describe(self) -> Iterable[Metric]:
        """The names, without which a registry would ask for the figures to learn them."""
        return list(self.collect())

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        traffic = self._counts.traffic
        peers = GaugeMetricFamily("meshloom_relay_peers", "Peers connected, by transport", labels=["transport"])
        for transport, each in traffic.items():
            peers.add_metric([transport], each.peers)
        yield peers
        waiting = "Connections that have not said yet who they are"
        yield GaugeMetricFamily("meshloom_relay_waiting", waiting, value=self._waiting())
        yield GaugeMetricFamily("meshloom_relay_queued_bytes", "Bytes waiting for slow readers", value=self._queued())
        for unit in ("packets", "bytes"):
            family = CounterMetricFamily(
                f"meshloom_relay_{unit}",
                f"{unit.capitalize()} that came from peers, and that were sent on to them",
                labels=["transport", "direction"],
            )
            for transport, each in traffic.items():
                for direction in ("in", "out"):
                    family.add_metric([transport, direction], getattr(each, f"{unit}_{direction}"))
            yield family
        dropped = "Packets that were not sent on, by reason"
        yield _by_reason("meshloom_relay_dropped", dropped, self._counts.dropped)
        about = "Peers that others wanted to hear of, for which there was no room"
        yield CounterMetricFamily("meshloom_relay_unwatched", about, value=self._counts.unwatched)
        yield _by_reason("meshloom_relay_ended", "Connections that ended, by reason", self._counts.ended)


def _by_reason(name: str, about: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=["reason"])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family
