"""Failed authentications: counted by reason, told in one line a minute, and slowed by where they come from."""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

import anyio

from meshloom_management.api.authentication import Reason

log = logging.getLogger(__name__)

BURST = 20
"""Failures of one source that are answered as quickly as they come."""
EVERY = 3.0
"""Seconds after which one more is."""
MOST_SOURCES = 4096
"""Sources that are told apart; those that come while all of these still owe time share one allowance."""
_PREFIX = 64
"""Bits of an IPv6 address that tell customers of a provider apart."""
_OTHERS = "others"


def source_of(address: str) -> str:
    """Names where a request comes from: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # a proxy said something else
        return _OTHERS
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Network((parsed, _PREFIX), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


class Allowances:
    """How many more failures each source may have now, in bounded memory.

    Args:
        burst: Failures of a source that may come at once.
        every: Seconds in which a source earns one more.
        most: Sources that are told apart.
    """

    def __init__(self, burst: int = BURST, every: float = EVERY, most: int = MOST_SOURCES) -> None:
        self._burst, self._every, self._most = burst, every, most
        self._paid: OrderedDict[str, float] = OrderedDict()
        """When a source will have earned all that it spent; those that failed last are at the end."""

    def __len__(self) -> int:
        return len(self._paid)

    def spend(self, source: str, now: float) -> float:
        """Takes one failure from what the source has left; returns the seconds until it has one again, 0 if it had."""
        name = source if source in self._paid or self._make_room(now) else _OTHERS
        paid = max(now, self._paid.get(name, now))
        wait = paid - now - (self._burst - 1) * self._every
        if wait > 0:
            return wait
        self._paid[name] = paid + self._every
        self._paid.move_to_end(name)
        return 0

    def _make_room(self, now: float) -> bool:
        while self._paid and next(iter(self._paid.values())) <= now:
            self._paid.popitem(last=False)
        return len(self._paid) < self._most


class Failures:
    """The failed authentications of one server.

    Args:
        clock: Seconds that only go forward.
        count: Called with the reason of each.
        allowances: How many each source may have.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        count: Callable[[Reason], None] = lambda _: None,
        allowances: Allowances | None = None,
    ) -> None:
        self._clock, self._count = clock, count
        self._allowances = Allowances() if allowances is None else allowances
        self._untold: Counter[Reason] = Counter()

    def note(self, reason: Reason, *sources: str) -> float:
        """Counts one; returns for how many seconds its sources shall not try again, 0 if they may."""
        self._count(reason)
        self._untold[reason] += 1
        now = self._clock()
        return max(self._allowances.spend(source, now) for source in sources)

    async def report(self, every: float = 60.0) -> None:
        """Writes a line for those that came since the last, until cancelled; nothing where none came."""
        while True:
            await anyio.sleep(every)
            self.tell()

    def tell(self) -> None:
        """Writes the line now."""
        if self._untold:
            listed = ", ".join(
                f"{number} {reason.replace('_', ' ')}" for reason, number in sorted(self._untold.items())
            )
            log.warning("failed authentications of the HTTP API in the last minute: %s", listed)
            self._untold.clear()
