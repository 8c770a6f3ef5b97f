"""All open connections of a process and what is known of their callers, whatever protocol they speak.

A caller is known once it has shown a sealed message of a registered peer or a valid token. Until then its connection
gives way to others, has a small allowance of CPU time and counts in the smaller pool of memory.
"""

import time
from collections.abc import Callable
from typing import Final

from meshloom_front.budget import Budget
from meshloom_front.crowd import NEARLY_FULL, Crowd, network_of
from meshloom_front.forwarded import NOBODY, Proxies
from meshloom_front.pace import Pace, Paces

PROOF_WITHIN: Final = 60.0
"""Seconds in which a caller must have shown who it is, or a service must have accepted a stream."""
SHARE: Final = 0.035
"""Part of one core that a connection may take whose caller is not known; with what cannot be measured, below 5 %."""
BURST: Final = 0.1
"""Seconds of CPU that it may take at once."""
LONGEST_REST: Final = 10.0
"""Seconds for which nothing is read from it at most; no work that it can cause at once is worth more."""
NETWORK_SHARE: Final = 0.035
"""Part of one core that all such connections of one network may take together, one after the other too."""
NETWORK_BURST: Final = 10.0
"""Seconds of CPU that they may take at once: ten thousand machines that come back from behind one proxy."""
ALL_SHARE: Final = 0.5
"""Part of one core that all callers together may take that are not known."""
ALL_BURST: Final = 2.0
"""Seconds of CPU that they may take at once."""
LONGEST_REST_OF_MANY: Final = 4.0
"""Seconds for which nothing is read from a connection at most since others have cost too much: agents wait 10 s for an
answer to their login, so that a newcomer in a crowd of strangers still comes through."""


class Caller:
    """One connection.

    Attributes:
        proven: Whether its caller is known.
        accepted: How many of its streams a service has accepted though their caller is not known.
        since: When it began, or when the last accepted stream ended.
    """

    __slots__ = (
        "_address",
        "_callers",
        "_network",
        "_network_pace",
        "_origin",
        "_pace",
        "_spent",
        "accepted",
        "end",
        "held",
        "proven",
        "since",
    )

    def __init__(self, callers: "Callers", address: str, measure: Callable[[], int], end: Callable[[], None]) -> None:
        self._callers, self.end = callers, end
        self._address = self._origin = address
        self._network = network_of(address)
        self._network_pace = callers.networks.of(self._network)
        self._pace = Pace(SHARE, BURST, callers.clock, LONGEST_REST)
        self._spent = 0.0
        self.proven = False
        self.accepted = 0
        self.since = callers.clock()
        self.held = callers.budget.open(measure, end)
        callers.open[self] = None
        callers.new.add(self, self._network)

    def origin(self, said: bytes) -> str:
        """Returns where a request comes from, and counts the connection for that network from now on.

        Args:
            said: What the request has in the field ``X-Forwarded-For``; it counts where a proxy is believed.
        """
        address = self._callers.proxies.origin(self._address, said)
        if address != self._origin:
            was_direct, self._origin = self._origin == self._address, address
            if (network := network_of(address)) != self._network:
                self._move(network, self._spent if was_direct else 0.0)
        return address

    def _move(self, network: str, spent: float) -> None:
        """Counts the connection for a network, which takes over that CPU time."""
        callers = self._callers
        pace = callers.networks.of(network)
        if not self.proven and spent:
            self._network_pace.give_back(spent)
            pace.spend(spent)
        self._network, self._network_pace = network, pace
        callers.new.move(self, network)
        callers.accepted.move(self, network)
        callers.keep_share(self, network)

    def hand_over(self, measure: Callable[[], int], end: Callable[[], None]) -> None:
        """Another protocol goes on with the connection: from now on that tells what it holds, and ends it."""
        self.end = self.held.end = end
        self.held.measure = measure

    def prove(self) -> None:
        """Its caller is known: the connection stays, and what it has cost so far burdens no stranger."""
        if self.proven:
            return
        self.proven = True
        self._callers.new.discard(self)
        self._callers.accepted.discard(self)
        self._callers.pace.give_back(self._spent)
        self._network_pace.give_back(self._spent)
        self.held.prove()

    def accept(self) -> None:
        """A service lets one of its streams stay though its caller is not known."""
        self.accepted += 1
        if self.accepted == 1 and self in self._callers.new:
            self._callers.new.discard(self)
            self._callers.accepted.add(self, self._network)

    def release(self) -> None:
        """A stream that was accepted has ended."""
        self.accepted -= 1
        if not self.accepted and self in self._callers.accepted:
            self.since = self._callers.clock()
            self._callers.accepted.discard(self)
            self._callers.new.add(self, self._network)

    def spend(self, seconds: float) -> float:
        """Takes note of CPU time that it has cost; returns the seconds for which nothing may be read from it."""
        if self.proven:
            return 0.0
        rest = self._pace.spend(seconds)
        if not self.accepted:
            self._spent += seconds
            rest = max(rest, self._network_pace.spend(seconds), self._callers.pace.spend(seconds))
        return rest

    def begun(self, seconds: float) -> None:
        """Takes note of CPU time that :meth:`Callers.begin` has taken for it, and that is given back with a proof."""
        self._spent += seconds

    def left(self) -> float:
        """Returns the seconds that it still has to show who it is; infinite where it need not."""
        if self.proven or self.accepted:
            return float("inf")
        return self.since + PROOF_WITHIN - self._callers.clock()

    def gone(self) -> None:
        """The connection is closed."""
        callers = self._callers
        callers.open.pop(self, None)
        callers.new.discard(self)
        callers.accepted.discard(self)
        self.held.close()
        self.hand_over(int, _nothing)  # else this and the connection keep each other until they are found


class Callers:
    """All of them.

    Args:
        budget: Bounds what they make this process hold.
        clock: Seconds, monotone.
        proxies: Those that are believed when they say where a request comes from.

    Attributes:
        open: Every open connection.
        new: Those whose callers have shown nothing yet.
        accepted: Those whose callers are not known, with a stream that a service has accepted.
        pace: CPU time for all of those that are new.
        networks: CPU time for those of each network.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        proxies: Proxies = NOBODY,
    ) -> None:
        self.budget = budget or Budget()
        self.clock, self.proxies = clock, proxies
        self._room = 0
        self.pace = Pace(ALL_SHARE, ALL_BURST, clock, LONGEST_REST_OF_MANY)
        self.networks: Paces[str] = Paces(NETWORK_SHARE, NETWORK_BURST, clock, LONGEST_REST_OF_MANY)
        self.open: dict[Caller, None] = {}
        self.new: Crowd[Caller] = Crowd()
        self.accepted: Crowd[Caller] = Crowd()

    def __len__(self) -> int:
        return len(self.open)

    def enter(self, address: str, measure: Callable[[], int], end: Callable[[], None]) -> Caller:
        """Counts one more connection.

        Args:
            address: Where it comes from; empty where the network does not tell.
            measure: Tells how many bytes it makes this process hold.
            end: Ends it at once.
        """
        return Caller(self, address, measure, end)

    def begin(self, network: str, seconds: float) -> float:
        """Takes that CPU time of what a network may take and returns 0; or returns the seconds until there is some."""
        pace = self.networks.of(network)
        if rest := pace.rest():
            return rest
        pace.spend(seconds)
        self.pace.spend(seconds)
        return 0.0

    def make_room(self, address: str, taken: int, room: int) -> bool:
        """Ends a connection where a newcomer needs its place; False where the newcomer has to go.

        The oldest of those whose callers have shown nothing goes first. Where the room is nearly full, a network that
        has more than its share gives way to its own newcomers. Streams that a service has accepted stay, unless their
        own network has more than its share of them.
        """
        self._room = room
        network = network_of(address)
        leaving = self.new.giving_way(network, taken, room)
        if leaving is None and taken < room:
            return True
        leaving = leaving or self.accepted.of_too_many(network, room)
        if leaving is None:
            return False
        _end(leaving)
        return True

    def keep_share(self, moved: Caller, network: str) -> None:
        """Ends the oldest connection of a network to which one was moved, where it now has more than its share."""
        if self._room and len(self.open) >= self._room * NEARLY_FULL:
            leaving = self.new.of_too_many(network, self._room)
            if leaving is not None and leaving is not moved:
                _end(leaving)


def _end(leaving: Caller) -> None:
    end = leaving.end
    leaving.gone()
    end()


def _nothing() -> None:
    """Ends what has ended."""
