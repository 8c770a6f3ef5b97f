"""How many answers go where: who forges a source must not turn this service against the one that has the address."""

from collections import OrderedDict
from socket import AF_INET, AF_INET6, inet_pton

import attrs

TABLE = 10_000


@attrs.define
class Bucket:
    """Answers that may be given: *per_second* on average, *burst* at once.

    Args:
        tokens: Answers that may be given at once now.
        since: When that was so, in seconds of a clock that never goes back.
    """

    per_second: float
    burst: float
    tokens: float
    since: float

    def allows(self, now: float) -> bool:
        """Whether one more may be given now; counts it."""
        self.tokens = min(self.burst, self.tokens + (now - self.since) * self.per_second)
        self.since = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class RateLimit:
    """A bucket for each key; the table is bounded, the longest unseen is forgotten.

    A key that comes while the table is full begins with one answer in place of a burst. Otherwise many forged sources
    would make the table forget one of them, and it would have a burst again each time.
    """

    def __init__(self, per_second: float, burst: float, keys: int = TABLE) -> None:
        self._per_second, self._burst, self._keys = per_second, burst, keys
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, key: bytes, now: float) -> bool:
        """Whether one more may be answered now; counts it."""
        bucket = self._buckets.get(key)
        if bucket is None:
            is_full = len(self._buckets) >= self._keys
            if is_full:
                self._buckets.popitem(last=False)
            bucket = Bucket(self._per_second, self._burst, 1.0 if is_full else self._burst, now)
            self._buckets[key] = bucket
        else:
            self._buckets.move_to_end(key)
        return bucket.allows(now)


class AnswerLimit:
    """Bounds answers to a source, to the network around it, and to all together.

    A source is an IPv4 address or an IPv6 /64, which one host has for itself; a network is a /24 or a /48.
    """

    def __init__(self) -> None:
        self._sources, self._networks = RateLimit(50, 200), RateLimit(500, 2000)
        self._all = Bucket(10_000, 10_000, 10_000, 0.0)

    def allows(self, host: str, now: float) -> bool:
        """Whether one more answer may go to the address; counts it."""
        source, network = _prefixes(host)
        return self._sources.allows(source, now) and self._networks.allows(network, now) and self._all.allows(now)


def _prefixes(host: str) -> tuple[bytes, bytes]:
    if ":" in host:
        packed = inet_pton(AF_INET6, host)
        return packed[:8], packed[:6]
    packed = inet_pton(AF_INET, host)
    return packed, packed[:3]
