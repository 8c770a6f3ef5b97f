"""How many messages each sender may send: by connection, address and key, so that nobody uses up another's."""

from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from meshloom_signal.standing import Rank

PER_SECOND: Final = 200.0
"""Messages a second, for long, of a sender that has not proven its key."""
BURST: Final = 2000.0
"""Messages at once: an agent that starts in a large mesh sends some to each peer."""
PROVEN_PER_SECOND: Final = 1000.0
PROVEN_BURST: Final = 20_000.0
MOST_KEYS: Final = 64
"""Keys of one connection that have a rate each; all others share one. A proxy may carry many agents."""
MOST_PLACES: Final = 256
"""Places that a proxy names on one connection and that have rates each; then the first is forgotten."""
RANK_FOR: Final = 5.0
"""Seconds for which it counts what speaks for a sender being its key's own: to ask costs more than a message."""


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

    def is_full(self, now: float) -> bool:
        """Tells whether nothing of it is used."""
        return self._left + (now - self._at) * self._per_second >= self._burst


class Sender:
    """One connection by which messages come, or one of the places from which a proxy's connection brings them.

    Attributes:
        proven: Keys with a proven stream on this connection.
        streams: How many streams it has open.
    """

    __slots__ = ("_others", "_places", "_ranks", "_rates", "proven", "streams")

    def __init__(self, now: float) -> None:
        self.proven: set[str] = set()
        self.streams = 0
        self._rates: dict[str, Rate] = {}
        self._ranks: dict[str, tuple[Rank, float]] = {}
        self._places: dict[str, Sender] = {}
        self._others = Rate(PER_SECOND, BURST, now)

    def at(self, place: str, now: float) -> "Sender":
        """Returns what is known of one place."""
        sender = self._places.get(place)
        if sender is None:
            if len(self._places) >= MOST_PLACES:
                del self._places[next(iter(self._places))]
            sender = self._places[place] = Sender(now)
        return sender

    def rank(self, key: str, now: float, ask: Callable[[], Rank]) -> Rank:
        """Returns what speaks for its being that key's own, asked for seldom."""
        if key in self.proven:
            return Rank.PROVEN
        known = self._ranks.get(key)
        if known is None or known[1] <= now:
            if len(self._ranks) >= MOST_KEYS:
                self._ranks.clear()
            known = self._ranks[key] = ask(), now + RANK_FOR
        return known[0]

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

    def of(self, connection: object, place: str = "") -> Sender:
        """Returns what is known of a connection, or of a place that a proxy names on it."""
        sender = self._by_connection.get(connection)
        if sender is None:
            sender = self._by_connection[connection] = Sender(self._clock())
        return sender.at(place, self._clock()) if place else sender
