"""One budget of memory for everything that all connections together make this process hold.

There are two pools: one for callers that are not known yet, one for known ones. A flood of strangers so takes nothing
from known peers. Where a pool is over its limit, the connections that hold the most end first.
"""

from collections.abc import Callable
from typing import Final

STRANGERS: Final = 64 << 20
"""Bytes held for all callers together that have not shown who they are."""
KNOWN: Final = 512 << 20
"""Bytes held for all known callers together."""
FREED: Final = 8
"""A pool that was full has an eighth of its limit free afterwards, so that it is looked through seldom."""


class Pool:
    """What some connections hold together.

    Attributes:
        limit: Bytes.
        size: Bytes that they were last known to hold.
        holdings: Each connection's part.
    """

    __slots__ = ("holdings", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.holdings: dict[Holding, None] = {}

    def shrink(self) -> None:
        """Measures all holdings again and ends the largest, until an eighth of the limit is free."""
        for each in self.holdings:
            size = each.measure()
            self.size += size - each.size
            each.size = size
        enough = self.limit - self.limit // FREED
        if self.size <= enough:
            return
        for each in sorted(self.holdings, key=_size, reverse=True):
            each.close()
            each.end()
            if self.size <= enough:
                return


class Holding:
    """What one connection holds.

    Args:
        pool: What it counts in.
        known: What it counts in once its caller is known.
        measure: Tells what it holds now, in bytes; some of it may have gone out without a word.
        end: Ends the connection at once and frees what it holds.
    """

    __slots__ = ("_known", "_pool", "end", "measure", "size")

    def __init__(self, pool: Pool, known: Pool, measure: Callable[[], int], end: Callable[[], None]) -> None:
        self._pool: Pool | None = pool
        self._known, self.measure, self.end = known, measure, end
        self.size = 0
        pool.holdings[self] = None

    def set(self, size: int) -> None:
        """Takes note that the connection holds that many bytes; this may end connections, perhaps this one."""
        pool = self._pool
        if pool is None:
            return
        pool.size += size - self.size
        self.size = size
        if pool.size > pool.limit:
            pool.shrink()

    def prove(self) -> None:
        """Counts it among the known ones."""
        if self._pool is None or self._pool is self._known:
            return
        size = self.size
        self.close()
        self._pool = self._known
        self._known.holdings[self] = None
        self.set(size)

    def close(self) -> None:
        """Counts it no longer: the connection is gone."""
        if self._pool is not None:
            del self._pool.holdings[self]
            self._pool.size -= self.size
            self.size, self._pool = 0, None


class Budget:
    """Both pools.

    Args:
        strangers: Bytes for callers that are not known.
        known: Bytes for known ones.
    """

    def __init__(self, strangers: int = STRANGERS, known: int = KNOWN) -> None:
        self.strangers, self.known = Pool(strangers), Pool(known)

    def open(self, measure: Callable[[], int], end: Callable[[], None]) -> Holding:
        """Counts one more connection, whose caller is not known."""
        return Holding(self.strangers, self.known, measure, end)


def _size(holding: Holding) -> int:
    return holding.size
