"""One budget of memory for everything that all connections together make this process hold.

There are three pools: for callers that are not known yet, for those that a service has accepted all the same, and for
known ones. A flood of strangers so takes nothing from peers. Where a pool is over its limit, the connections that hold
the most end first; of callers that are not known, those of the network that holds the most.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace
from typing import Final

STRANGERS: Final = 64 << 20
"""Bytes held for all callers together that have not shown who they are."""
STANDING: Final = 384 << 20
"""Bytes held for all callers together that a service has accepted though nobody knows them: agents of NetBird's."""
KNOWN: Final = 512 << 20
"""Bytes held for all known callers together."""
FREED: Final = 8
"""A pool that was full has an eighth of its limit free afterwards, so that it is looked through seldom."""


class Pool:
    """What some connections hold together.

    Args:
        limit: Bytes.
        by_group: Whether the group that holds the most has to give, rather than the connection that does.

    Attributes:
        size: Bytes that they were last known to hold.
        holdings: Each connection's part.
    """

    __slots__ = ("_by_group", "holdings", "limit", "size")

    def __init__(self, limit: int, *, by_group: bool = False) -> None:
        self.limit, self._by_group, self.size = limit, by_group, 0
        self.holdings: dict[Holding, None] = {}

    def shrink(self) -> None:
        """Measures all holdings again and ends the largest, until an eighth of the limit is free."""
        for each in self.holdings:
            size = each.base + each.measure()
            self.size += size - each.size
            each.size = size
        enough = self.limit - self.limit // FREED
        if self.size <= enough:
            return
        for each in self._largest_first():
            each.close()
            each.end()
            if self.size <= enough:
                return

    def _largest_first(self) -> Iterator["Holding"]:
        """Yields holdings: of the group that has the most after those that went before, always the largest."""
        if not self._by_group:
            yield from sorted(self.holdings, key=_size, reverse=True)
            return
        groups: dict[str, list[Holding]] = {}
        for each in sorted(self.holdings, key=_size):
            groups.setdefault(each.group, []).append(each)
        order = [(-sum(map(_size, members)), group) for group, members in groups.items()]
        heapify(order)
        while order:
            left, group = order[0]
            members = groups[group]
            leaving = members.pop()
            if members:
                heapreplace(order, (left + leaving.size, group))
            else:
                heappop(order)
            yield leaving


class Holding:
    """What one connection holds.

    Args:
        budget: It counts in, among strangers until its caller is known.
        group: Where it comes from.
        base: Bytes that it takes whatever it does; counted from the next change on.
        measure: Tells what it holds beside, in bytes; some of it may have gone out without a word.
        end: Ends the connection at once and frees what it holds.
    """

    __slots__ = ("_budget", "_pool", "base", "end", "group", "measure", "size")

    def __init__(
        self, budget: "Budget", group: str, base: int, measure: Callable[[], int], end: Callable[[], None]
    ) -> None:
        self._pool: Pool | None = budget.strangers
        self._budget, self.group, self.base, self.measure, self.end = budget, group, base, measure, end
        self.size = 0
        self._pool.holdings[self] = None

    def set(self, size: int) -> None:
        """Takes note that it holds that many bytes beside its base; this may end connections, perhaps this one."""
        pool = self._pool
        if pool is None:
            return
        size += self.base
        pool.size += size - self.size
        self.size = size
        if pool.size > pool.limit:
            pool.shrink()

    def accept(self) -> None:
        """Counts it among those that a service has accepted."""
        self._move(self._budget.standing)

    def prove(self) -> None:
        """Counts it among the known ones."""
        self._move(self._budget.known)

    def doubt(self) -> None:
        """Counts it among strangers again."""
        self._move(self._budget.strangers)

    def _move(self, pool: Pool) -> None:
        if self._pool is None or self._pool is pool:
            return
        self.close()
        self._pool = pool
        pool.holdings[self] = None
        self.set(self.measure())

    def close(self) -> None:
        """Counts it no longer: the connection is gone."""
        if self._pool is not None:
            del self._pool.holdings[self]
            self._pool.size -= self.size
            self.size, self._pool = 0, None


class Budget:
    """All pools.

    Args:
        strangers: Bytes for callers that are not known.
        known: Bytes for known ones.
        standing: Bytes for those that are not known and were accepted.
    """

    def __init__(self, strangers: int = STRANGERS, known: int = KNOWN, standing: int = STANDING) -> None:
        self.strangers, self.known = Pool(strangers, by_group=True), Pool(known)
        self.standing = Pool(standing, by_group=True)

    def open(self, group: str, base: int, measure: Callable[[], int], end: Callable[[], None]) -> Holding:
        """Counts one more connection, whose caller is not known.

        Args:
            group: Where it comes from. Of strangers, the group that holds the most has to give.
            base: Bytes that it takes whatever it does.
            measure: Tells what it holds beside.
            end: Ends it at once.
        """
        return Holding(self, group, base, measure, end)


def _size(holding: Holding) -> int:
    return holding.size
