"""Streams that may get an agent's messages, while it is being found out whether they do: bounded, for all together."""

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

import anyio

from meshloom_front.rpc.call import Call

PER_KEY: Final = 16
"""Networks from which streams of one key may wait; the oldest gives way."""
MOST: Final = 1024
"""Streams that may wait at all."""


class Contender:
    """A stream that waits, as a context.

    Args:
        source: The network that it comes from.

    Attributes:
        gave_way: Whether another stream has taken its place.
    """

    def __init__(self, table: "Contenders", key: str, source: str, call: Call) -> None:
        self._table, self.key, self.source, self.call = table, key, source, call
        self.gave_way = False
        self._scope: anyio.CancelScope | None = None

    def __enter__(self) -> Self:
        self._table.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.discard(self)

    def wait(self, within: float) -> anyio.CancelScope:
        """Returns the scope for a wait, which ends after so many seconds or when the stream has to give way."""
        self._scope = anyio.CancelScope(deadline=anyio.current_time() + within)
        return self._scope

    def give_way(self) -> None:
        """Ends the wait."""
        self.gave_way = True
        if self._scope is not None:
            self._scope.cancel()


class Contenders:
    """All that wait: of each key one for each network that they come from, the newest.

    A stranger who opens streams without end displaces his own, not the agent's.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, Contender]] = {}
        self._all: dict[Contender, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def of(self, key: str) -> Iterable[Contender]:
        """Returns those of one key."""
        return tuple(self._by_key.get(key, {}).values())

    def add(self, new: Contender) -> None:
        """Adds one; an older one may have to give way."""
        own = self._by_key.get(new.key, {})
        if (leaving := own.get(new.source)) is not None:
            self._displace(leaving)
        elif len(own) >= PER_KEY:
            self._displace(next(iter(own.values())))
        elif len(self._all) >= MOST:
            self._displace(next(iter(self._all)))
        self._by_key.setdefault(new.key, {})[new.source] = new
        self._all[new] = None

    def discard(self, each: Contender) -> None:
        """Removes one, if it waits."""
        if each not in self._all:
            return
        del self._all[each]
        own = self._by_key[each.key]
        del own[each.source]
        if not own:
            del self._by_key[each.key]

    def end_all(self) -> None:
        """Ends all waits."""
        for each in tuple(self._all):
            self._displace(each)

    def end(self, key: str) -> None:
        """Ends the waits of one key."""
        for each in self.of(key):
            self._displace(each)

    def _displace(self, each: Contender) -> None:
        self.discard(each)
        each.give_way()
