"""How many messages each sender may send: by connection and key, so that nobody uses up another's."""

from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

PER_SECOND: Final = 200.0
"""Messages a second, for long, of a sender that has not proven its key."""
BURST: Final = 2000.0
"""Messages at once: an agent that starts in a large mesh sends some to each peer."""
PROVEN_PER_SECOND: Final = 1000.0
PROVEN_BURST: Final = 20_000.0
UNPROVEN_PER_SECOND: Final = 500.0
"""Messages a second to one recipient of all senders together that have not proven their keys."""
UNPROVEN_BURST: Final = 5000.0
MOST_KEYS: Final = 64
"""Keys of one connection that have a rate each; all others share one. A proxy may carry many agents."""


class Rate:
    """A number of messages that fills up with time."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left, self._at = burst, now

    def take(self, now: float) -> bool:
        """Takes one message; returns False when there is none left."""
        left = self._left + (now - self._at) * self._per_second
        self._left, self._at = min(left, self._burst), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Sender:
    """One connection by which messages come.

    Attributes:
        proven: Keys with a proven stream on this connection.
        streams: How many streams it has open.
    """

    __slots__ = ("_others", "_rates", "proven", "streams")

    def __init__(self, now: float) -> None:
        self.proven: set[str] = set()
        self.streams = 0
        self._rates: dict[str, Rate] = {}
        self._others = Rate(PER_SECOND, BURST, now)

    def take(self, key: str, now: float) -> bool:
        """Takes one message in the name of that key; returns False when it has sent too many."""
        rate = self._rates.get(key)
        if rate is None:
            if key in self.proven:
                rate = self._rates[key] = Rate(PROVEN_PER_SECOND, PROVEN_BURST, now)
            elif len(self._rates) < MOST_KEYS:
                rate = self._rates[key] = Rate(PER_SECOND, BURST, now)
            else:
                rate = self._others
        return rate.take(now)

    def prove(self, key: str) -> None:
        """Gives the key the rate of those that are proven."""
        self.proven.add(key)
        self._rates.pop(key, None)

    def forget(self, key: str) -> None:
        """Takes it away again: the key's proven stream has ended."""
        if key in self.proven:  # else a sender would get a new burst by each stream that it opens
            self.proven.discard(key)
            self._rates.pop(key, None)


class Senders:
    """All connections by which something came, as long as they are open.

    Args:
        clock: Seconds, monotone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_connection: WeakKeyDictionary[object, Sender] = WeakKeyDictionary()

    def of(self, connection: object) -> Sender:
        """Returns what is known of a connection."""
        sender = self._by_connection.get(connection)
        if sender is None:
            sender = self._by_connection[connection] = Sender(self._clock())
        return sender
