"""Whose turn it is: what strangers cause is done a little at a time, and whoever has had least comes first.

All of them together have an allowance of CPU time. Where it does not suffice, work waits, and the order decides who
waits: networks first, then the connections of one.

Each network has a rank, in seconds of CPU that it has had. While work waits, the rank that counts as none had is that
of who was served last, less a credit (start-time fair queueing, P. Goyal and others, SIGCOMM 1996): however many
networks there are and however little each gets, a newcomer comes before all that have used their credit, for as many
turns as a login takes. A connection has a rank among those of its network, the moment at which it would have come had
it used no more than a trickle (the virtual clock of L. Zhang, SIGCOMM 1990). Both move with time too: nobody who has
waited long enough is passed over.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from itertools import count
from typing import Final

from meshloom.pace import Pace

_log = logging.getLogger(__name__)

SLICE: Final = 0.005
"""Seconds of CPU for the work of strangers in one iteration of the event loop: others wait no longer."""
AGAIN: Final = 0.002
"""Seconds of the shortest rest of all."""
CONNECTION_TRICKLE: Final = 0.001
"""Part of one core that costs a connection no place in the order: a login takes some milliseconds."""
NETWORK_TRICKLE: Final = 0.01
"""Part of one core that costs a network no place in the order, while nothing waits."""
NETWORK_PATIENCE: Final = 0.0005
"""The same while something waits: of the allowance, one network of a thousand has no more."""
CREDIT: Final = 0.05
"""Seconds of CPU that a network may use before it stands behind those who have had something: some logins."""
ARREARS: Final = 0.03
"""Seconds of CPU by which it can come to stand behind those, beyond its credit."""
FURTHEST: Final = 60.0
"""Seconds by which a connection can come to stand behind a newcomer."""
REMEMBERED: Final = 10_000
"""Networks that are kept beside each other; those that have used nothing lately are the same as new ones."""
CANCELLED: Final = 16
"""Turns that were taken back and may stay in a queue, at least."""


class Rank:
    """A place in the order of the connections of one network.

    Args:
        trickle: Part of one core that costs no place.

    Attributes:
        at: Seconds of the clock: the lower, the earlier its turn. In the past, it is as good as now.
    """

    __slots__ = ("_trickle", "at")

    def __init__(self, trickle: float) -> None:
        self._trickle = trickle
        self.at = 0.0

    def spend(self, seconds: float, now: float) -> None:
        """Goes back in the order, since so much CPU time was used."""
        self.at = min(now + FURTHEST, max(self.at, now) + seconds / self._trickle)


class Order:
    """What a network counts as having had of CPU time that has had nothing.

    Args:
        now: Seconds of the clock.
    """

    __slots__ = ("_at", "_now")

    def __init__(self, now: float) -> None:
        self._at, self._now = 0.0, now

    def newcomer(self, now: float, *, waits: bool) -> float:
        """Returns it, in seconds of CPU.

        Args:
            now: Seconds of the clock.
            waits: Whether work has waited since this was asked for.
        """
        self._at += (now - self._now) * (NETWORK_PATIENCE if waits else NETWORK_TRICKLE)
        self._now = now
        return self._at - CREDIT

    def served(self, rank: float) -> None:
        """Takes note of the rank of a network that had its turn."""
        self._at = max(self._at, rank)


class Network:
    """What the strangers of one network have together.

    Args:
        name: As :func:`meshloom_front.crowd.network_of` tells it.
        pace: CPU time that one connection may take, and one after the other. Many may take as many times as much, since
            a whole site, or everybody behind a proxy, can have one address.

    Attributes:
        had: Seconds of CPU that they count as having had: their place among networks.
        waiting: Turns of theirs, the next first.
        is_queued: Whether the network has a place in the order.
    """

    __slots__ = ("_cancelled", "_connections", "_share", "had", "is_queued", "name", "pace", "waiting")

    def __init__(self, name: str, pace: Pace) -> None:
        self.name, self.pace = name, pace
        self._share, self._connections = pace.share, 0
        self.had = 0.0
        self.waiting: list[tuple[float, int, Turn]] = []
        self.is_queued = False
        self._cancelled = 0

    def spend(self, seconds: float, newcomer: float) -> None:
        """Takes note of CPU time that they have had; *newcomer* is what counts as none."""
        self.pace.spend(seconds)
        self.had = min(newcomer + CREDIT + ARREARS, max(self.had, newcomer) + seconds)

    def give_back(self, seconds: float) -> None:
        """Undoes that."""
        self.pace.give_back(seconds)
        self.had -= seconds

    def count(self, change: int) -> None:
        """Counts one connection more, or one less."""
        self._connections += change
        self.pace.change_share(self._share * max(1, self._connections))

    def cancelled(self) -> None:
        """Forgets turns that were taken back, where there are many."""
        self._cancelled += 1
        if self._cancelled > max(CANCELLED, len(self.waiting) // 2):
            self.waiting[:] = [each for each in self.waiting if each[2].run is not None]
            heapq.heapify(self.waiting)
            self._cancelled = 0

    def pop(self) -> "Turn | None":
        """Returns the next turn, None where there is none."""
        while self.waiting:
            turn = heapq.heappop(self.waiting)[2]
            if turn.run is not None:
                return turn
            self._cancelled -= 1
        return None


class Turn:
    """Work that waits.

    Attributes:
        run: Does it, unless it was done or taken back.
    """

    __slots__ = ("_network", "run")

    def __init__(self, network: Network, run: Callable[[], None]) -> None:
        self._network = network
        self.run: Callable[[], None] | None = run

    def cancel(self) -> None:
        """Takes it back."""
        if self.run is not None:
            self.run = None
            self._network.cancelled()


class Turns:
    """Runs what waits.

    Args:
        pace: CPU time that all strangers may take together.
        network: Makes the allowance of a network.
        clock: Seconds, monotone.
    """

    def __init__(self, pace: Pace, network: Callable[[], Pace], clock: Callable[[], float] = time.monotonic) -> None:
        self.pace, self._network_pace, self._clock = pace, network, clock
        self._numbers = count()
        self._networks: dict[str, Network] = {}
        self._ranks = Order(clock())
        self._order: list[tuple[float, int, Network]] = []
        self._resting: list[tuple[float, int, Network]] = []
        self._used = 0.0
        self._next: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None

    def network(self, name: str) -> Network:
        """Returns one network; the one that was asked for least lately is forgotten, where there are too many."""
        network = self._networks.pop(name, None)
        if network is None:
            network = Network(name, self._network_pace())
            if len(self._networks) >= REMEMBERED:
                del self._networks[next(iter(self._networks))]
        self._networks[name] = network
        return network

    def is_free(self, network: Network) -> bool:
        """Whether work of that network may be done at once: nobody waits, and there is CPU time for it."""
        return not self._order and self._used < SLICE and not self.pace.rest() and not network.pace.rest()

    def wait(self, network: Network, rank: Rank | None, run: Callable[[], None]) -> Turn:
        """Runs that when it is its turn; it tells by :meth:`spend` what it costs.

        Args:
            network: Whose turn it is to be.
            rank: Of the connection; None for one that is new.
            run: Does it.
        """
        now = self._clock()
        turn = Turn(network, run)
        heapq.heappush(network.waiting, (now if rank is None else max(rank.at, now), next(self._numbers), turn))
        if not network.is_queued:
            network.is_queued = True
            self._put(network, self._newcomer(now))
        self._soon()
        return turn

    def spend(self, network: Network, seconds: float, rank: Rank | None = None) -> None:
        """Takes note of CPU time that a stranger has cost, or a connection of which nothing is known yet."""
        now = self._clock()
        network.spend(seconds, self._newcomer(now))
        if rank is not None:
            rank.spend(seconds, now)
        self.pace.spend(seconds)
        self._used += seconds
        self._soon()  # the next iteration of the loop begins with nothing used

    def give_back(self, network: Network, seconds: float) -> None:
        """Undoes what was spent: it was no stranger."""
        self.pace.give_back(seconds)
        network.give_back(seconds)

    def _newcomer(self, now: float) -> float:
        return self._ranks.newcomer(now, waits=bool(self._order))

    def _put(self, network: Network, newcomer: float) -> None:
        heapq.heappush(self._order, (max(network.had, newcomer), next(self._numbers), network))

    def _soon(self) -> None:
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._next, self._used = None, 0.0
        now = self._clock()
        newcomer = self._newcomer(now)
        while self._resting and self._resting[0][0] <= now:
            self._put(heapq.heappop(self._resting)[2], newcomer)
        while self._order and self._used < SLICE:
            if rest := self.pace.rest():
                self._after(rest)
                return
            self._serve(now)
        if self._order:
            self._soon()
        elif self._resting:
            self._after(self._resting[0][0] - now)

    def _serve(self, now: float) -> None:
        """Gives the first network a turn, unless it rests or has come to stand behind others since it was put there."""
        newcomer = self._newcomer(now)
        rank, _, network = heapq.heappop(self._order)
        if rest := network.pace.rest():
            heapq.heappush(self._resting, (now + rest, next(self._numbers), network))
            return
        if self._order and network.had > max(rank, self._order[0][0]):
            self._put(network, newcomer)
            return
        turn = network.pop()
        if turn is None:
            network.is_queued = False
            return
        self._ranks.served(rank)
        run, turn.run = turn.run, None
        try:
            run()  # type: ignore[misc]  # it is not None: it was not taken back
        except Exception:  # noqa: BLE001 - as in the event loop: the others have their turns all the same
            _log.exception("what a stranger caused failed")
        self._put(network, self._newcomer(now))

    def _after(self, seconds: float) -> None:
        """Goes on then."""
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(max(seconds, AGAIN), self._soon)
