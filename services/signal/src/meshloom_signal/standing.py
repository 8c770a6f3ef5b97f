"""Who gets an agent's stream when somebody opens another one in its name: the rules, without any waiting.

The protocol of NetBird does not prove a key: whoever knows a public key can open a stream for it. A stream that proves
its key (:mod:`meshloom.protocol.signal_proof`) comes before all others. Among the rest the one that is there stays
while it answers, except where the new one comes from the address at which management knows the peer. A proxy answers
for its clients, whether they are there or not; but those that are there say something to themselves where they hear
nothing from others (NetBird's watchdog, each 30 to 40 seconds).
"""

from collections.abc import Callable
from enum import Enum, IntEnum, auto
from typing import Final

import attrs

QUIET: Final = 60.0
"""Seconds without any sign of life after which a client behind a proxy has gone."""
PROVEN_FOR: Final = 600.0
"""Seconds after the end of a proven stream in which nobody gets its key's messages without a proof."""
MOST_PROVEN: Final = 65_536
"""Keys that were proven and are remembered."""


class Rank(IntEnum):
    """How much speaks for a stream being its key's own."""

    CLAIMED = auto()
    """The key was named, which everybody can do."""
    SEEN = auto()
    """Management has opened a sealed message of that key from the same address."""
    PROVEN = auto()
    """The stream's client holds the private key."""


class Verdict(Enum):
    """What happens with a new stream."""

    TAKE = auto()
    """It gets the messages; an older stream ends."""
    ASK = auto()
    """It waits while the older stream is asked whether it is there; if that answers, the new one ends."""
    REFUSE = auto()
    """It ends."""


@attrs.frozen
class Holder:
    """The stream that has a key's messages.

    Args:
        proxied: Whether a proxy ends its connection: then the proxy answers, whether the agent is there or not.
        same_connection: Whether the new stream came by the same connection as this one.
        quiet: Whether its client, which is behind a proxy, has gone, as far as its silence tells.
    """

    rank: Rank
    proxied: bool
    same_connection: bool
    quiet: bool


def decide(new: Rank, old: Holder | None, *, needs_proof: bool) -> Verdict:
    """Returns what happens with a new stream; with *needs_proof* the key's agent is known to prove its key."""
    if new is Rank.PROVEN:
        return Verdict.TAKE
    if needs_proof or (old is not None and old.rank is Rank.PROVEN):
        return Verdict.REFUSE
    if old is None or new > old.rank or (old.same_connection and not old.proxied):
        return Verdict.TAKE
    return Verdict.TAKE if old.proxied and old.quiet and new is old.rank else Verdict.ASK


class Silence:
    """How long nothing has come from a client behind a proxy.

    Args:
        now: When its stream began.
    """

    __slots__ = ("_beats", "_said", "_told")

    def __init__(self, now: float) -> None:
        self._said = self._told = now
        self._beats = False

    def say(self, now: float, *, to_itself: bool) -> None:
        """Takes note of a message in the client's name, from where its stream comes."""
        self._said = now
        self._beats = self._beats or to_itself

    def tell(self, now: float) -> None:
        """Takes note of a message of another one for it: as long as these come, it need not say anything."""
        self._told = now

    def is_long(self, now: float, *, same_place: bool) -> bool:
        """Tells whether the client has gone.

        Args:
            now: Seconds, monotone.
            same_place: Whether the asker comes from the very address of the client. Elsewhere, silence counts only of
                clients that have said something to themselves before, and that nobody spares it.
        """
        if now - self._said < QUIET:
            return False
        return same_place or (self._beats and now - self._told >= QUIET)


class Proven:
    """Keys whose proven stream has ended, until they may be claimed without a proof; bounded.

    Args:
        clock: Seconds, monotone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: dict[str, float] = {}

    def leave(self, key: str) -> None:
        """Notes that a proven stream of that key has ended now."""
        self._left.pop(key, None)
        self._left[key] = self._clock()
        if len(self._left) > MOST_PROVEN:
            del self._left[next(iter(self._left))]

    def __contains__(self, key: str) -> bool:
        """Tells whether a proven stream of that key ended less than :data:`PROVEN_FOR` seconds ago."""
        left = self._left.get(key)
        if left is None:
            return False
        if self._clock() - left < PROVEN_FOR:
            return True
        del self._left[key]
        return False
