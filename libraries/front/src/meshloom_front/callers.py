"""All open connections of a process and what is known of their callers, whatever protocol they speak.

A caller is known once it has shown a sealed message of a registered peer or a valid token. Until then its connection
gives way to others, has a small allowance of CPU time and counts in the smaller pool of memory.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from meshloom.pace import Pace
from meshloom_front.budget import Budget
from meshloom_front.crowd import NEARLY_FULL, Crowd, network_of
from meshloom_front.forwarded import NOBODY, Proxies
from meshloom_front.turns import CONNECTION_TRICKLE, Network, Rank, Turn, Turns

PROOF_WITHIN: Final = 60.0
"""Seconds in which a caller must have shown who it is, or a service must have accepted a stream."""
SHARE: Final = 0.035
"""Part of one core that a connection may take whose caller is not known; with what cannot be measured, below 5 %."""
BURST: Final = 0.1
"""Seconds of CPU that it may take at once."""
LONGEST_REST: Final = 10.0
"""Seconds for which nothing is read from it at most; no work that it can cause at once is worth more."""
NETWORK_SHARE: Final = 0.035
"""Part of one core that connections of one network may take one after the other; many at once, so many times that."""
NETWORK_BURST: Final = 1.0
"""Seconds of CPU that they may take at once."""
ALL_SHARE: Final = 0.5
"""Part of one core that all callers together may take that are not known."""
ALL_BURST: Final = 2.0
"""Seconds of CPU that they may take at once."""
STANDING_SHARE: Final = 0.25
"""Part of one core that those may take in addition that a service has accepted though nobody knows their callers."""
STANDING_BURST: Final = 4.0
"""Seconds of CPU that they may take at once: what a whole fleet says when its server has come back."""
LONGEST_REST_OF_MANY: Final = 1.0
"""Seconds in which no stranger has a turn, or none of a network, at most: what they have taken beyond is forgotten."""

MAPPED: Final = "::ffff:"
"""Begins an IPv4 address as a socket for both families has it."""


class Caller:
    """One connection.

    Args:
        address: Where it comes from; empty where the network does not tell.
        takes: Bytes that the connection itself takes, about.
        measure: Tells how many more bytes it makes this process hold.
        end: Ends it at once.
        begun: Seconds of CPU that its beginning has cost, and that were counted before.

    Attributes:
        proven: Whether its caller is known.
        accepted: How many of its streams a service has accepted though their caller is not known.
        has_turn: Whether it is its turn, and nothing was done in it yet.
        since: When it began, or when the last accepted stream ended.
    """

    __slots__ = (
        "_address",
        "_callers",
        "_network",
        "_origin",
        "_pace",
        "_rank",
        "_shown",
        "_spent",
        "_standing",
        "_takes",
        "_turn",
        "accepted",
        "end",
        "has_turn",
        "held",
        "proven",
        "since",
    )

    def __init__(
        self,
        callers: "Callers",
        address: str,
        takes: int,
        measure: Callable[[], int],
        end: Callable[[], None],
        *,
        begun: float = 0.0,
    ) -> None:
        self._callers, self._takes, self.end = callers, takes, end
        self._address = self._origin = self._shown = address
        self._network = callers.turns.network(network_of(address))
        self._standing: Network | None = None
        self._pace = Pace(SHARE, BURST, callers.clock, LONGEST_REST)
        self._rank = Rank(CONNECTION_TRICKLE)
        self._turn: Turn | None = None
        self._spent = begun
        self.proven = self.has_turn = False
        self.accepted = 0
        self.since = callers.clock()
        self.held = callers.budget.open(self._network.name, takes, measure, end)
        callers.open[self] = None
        self._enter_new()

    def origin(self, said: bytes, *, alone: bool = False) -> str:
        """Returns where a request comes from, and counts the connection for that network from now on.

        Args:
            said: What the request has in the field ``X-Forwarded-For``; it counts where a proxy is believed.
            alone: Whether no other request of the connection is open. Where another address has shown who it is, by a
                proxy's connection, this one then has not.
        """
        address = self._callers.proxies.origin(self._address, said)
        if self.proven and alone and address != self._shown:
            self._doubt()
        if address != self._origin:
            was_direct, self._origin = self._origin == self._address, address
            if (network := network_of(address)) != self._network.name:
                self._move(network, self._spent if was_direct else 0.0)
        return address

    def _move(self, name: str, spent: float) -> None:
        """Counts the connection for a network, which takes over that CPU time."""
        callers, before = self._callers, self._network
        is_new = self in callers.new
        network = self._network = callers.turns.network(name)
        if not self.proven and spent:
            callers.turns.give_back(before, spent)
            callers.turns.spend(network, spent)
        if is_new:
            before.count(-1)
            network.count(1)
        self.held.group = name
        callers.new.move(self, name)
        if self._standing is not None:
            callers.accepted.move(self, name)
            self._standing.count(-1)
            self._standing = callers.standing.network(name)
            self._standing.count(1)
        callers.keep_share(self, name)

    def hand_over(self, measure: Callable[[], int], end: Callable[[], None]) -> None:
        """Another protocol goes on with the connection: from now on that tells what it holds, and ends it."""
        self.end = self.held.end = end
        self.held.measure = measure

    def prove(self) -> None:
        """Its caller is known: the connection stays, and what it has cost so far burdens no stranger."""
        if self.proven:
            return
        self.proven, self._shown = True, self._origin
        self._leave_new()
        self._leave_standing()
        self._callers.turns.give_back(self._network, self._spent)
        self._forget_turn()
        self.held.base = self._takes
        self.held.prove()

    def _doubt(self) -> None:
        """Its caller is somebody else now, of whom nothing is known."""
        self.proven, self._spent = False, 0.0
        self.since = self._callers.clock()
        self._enter_new()
        self.held.doubt()

    def accept(self) -> None:
        """A service lets one of its streams stay though its caller is not known.

        Then it no longer gives way to newcomers, and shares memory and time with those only that were accepted like it.
        """
        self.accepted += 1
        if self.accepted == 1 and self in self._callers.new:
            self._leave_new()
            self._callers.accepted.add(self, self._network.name)
            self._standing = self._callers.standing.network(self._network.name)
            self._standing.count(1)
            self.held.accept()

    def release(self) -> None:
        """A stream that was accepted has ended."""
        self.accepted -= 1
        if not self.accepted and self._standing is not None:
            self.since = self._callers.clock()
            self._leave_standing()
            self._enter_new()
            self.held.doubt()

    def may_go_on(self) -> bool:
        """Whether a piece of work for it may be done at once; else :meth:`wait` for a turn."""
        if self.has_turn:
            self.has_turn = False
            return True
        if self.proven:
            return True
        if self._standing is not None:
            return self._callers.standing.is_free(self._standing)
        return self._callers.turns.is_free(self._network)

    def wait(self, run: Callable[[], None]) -> None:
        """Runs that when it is its turn, in place of what waited before; never once it is known or gone."""
        self._forget_turn()
        callers, take = self._callers, partial(self._take_turn, run)
        if self._standing is not None:
            self._turn = callers.standing.wait(self._standing, self._rank, take)
        else:
            self._turn = callers.turns.wait(self._network, self._rank, take)

    def _take_turn(self, run: Callable[[], None]) -> None:
        self.has_turn = True
        try:
            run()
        finally:
            self.has_turn = False

    def spend(self, seconds: float) -> float:
        """Takes note of CPU time that it has cost; returns the seconds for which nothing may be read from it."""
        if self.proven:
            return 0.0
        if self._standing is not None:
            self._callers.standing.spend(self._standing, seconds, self._rank)
        else:
            self._spent += seconds
            self._callers.turns.spend(self._network, seconds, self._rank)
        return self._pace.spend(seconds)

    def left(self) -> float:
        """Returns the seconds that it still has to show who it is; infinite where it need not."""
        if self.proven or self.accepted:
            return float("inf")
        return self.since + PROOF_WITHIN - self._callers.clock()

    def gone(self) -> None:
        """The connection is closed."""
        callers = self._callers
        callers.open.pop(self, None)
        self._leave_new()
        self._leave_standing()
        self._forget_turn()
        self.held.close()
        self.hand_over(int, _nothing)  # else this and the connection keep each other until they are found

    def _enter_new(self) -> None:
        self._callers.new.add(self, self._network.name)
        self._network.count(1)

    def _leave_new(self) -> None:
        if self in self._callers.new:
            self._callers.new.discard(self)
            self._network.count(-1)

    def _leave_standing(self) -> None:
        if self._standing is not None:
            self._callers.accepted.discard(self)
            self._standing.count(-1)
            self._standing = None

    def _forget_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None


class Callers:
    """All of them.

    Args:
        budget: Bounds what they make this process hold.
        clock: Seconds, monotone.
        proxies: Those that are believed when they say where a request comes from.
        standing_share: Part of one core that those may take that are accepted and not known.

    Attributes:
        open: Every open connection.
        new: Those whose callers have shown nothing yet.
        accepted: Those whose callers are not known, with a stream that a service has accepted.
        turns: In which the work of those is done that are new.
        standing: The same of those that were accepted, so that neither takes anything from the others.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        proxies: Proxies = NOBODY,
        *,
        standing_share: float = STANDING_SHARE,
    ) -> None:
        self.budget = budget or Budget()
        self.clock, self.proxies = clock, proxies
        self._room = 0
        everybody = Pace(ALL_SHARE, ALL_BURST, clock, LONGEST_REST_OF_MANY)
        network = partial(Pace, NETWORK_SHARE, NETWORK_BURST, clock, LONGEST_REST_OF_MANY)
        self.turns = Turns(everybody, network, clock)
        self.standing = Turns(Pace(standing_share, STANDING_BURST, clock, LONGEST_REST_OF_MANY), network, clock)
        self.open: dict[Caller, None] = {}
        self.new: Crowd[Caller] = Crowd()
        self.accepted: Crowd[Caller] = Crowd()

    def __len__(self) -> int:
        return len(self.open)

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


def address_of(transport: asyncio.BaseTransport) -> str:
    """Returns the address that a connection comes from; empty where the network does not tell."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    address = str(peer[0])
    return address.removeprefix(MAPPED) if "." in address else address


def _end(leaving: Caller) -> None:
    end = leaving.end
    leaving.gone()
    end()


def _nothing() -> None:
    """Ends what has ended."""
