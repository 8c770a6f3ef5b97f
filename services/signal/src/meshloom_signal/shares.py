"""How much senders that have not proven their keys may send to one recipient: some for each, and the rest for all.

Who floods a recipient uses up what all share, never what each other one has for itself. Senders at the address at which
management knows their keys share among themselves, since a stranger elsewhere is none of them.
"""

from typing import Final

from meshloom_signal.rates import Rate
from meshloom_signal.standing import Rank

SHARED_PER_SECOND: Final = 250.0
"""Messages a second to one recipient of all such senders of one rank together."""
SHARED_BURST: Final = 2500.0
OWN_PER_SECOND: Final = 4.0
"""Messages a second that each may send to a recipient whatever the others do."""
OWN_BURST: Final = 40.0
"""An offer and the candidates of one side."""
MOST_OF_ONE: Final = 64
"""Senders of one rank to one recipient that have something of their own: so all of them together stay bounded."""
MOST: Final = 65_536
"""Pairs of a sender and a recipient that are told apart."""
FORGOTTEN: Final = 4
"""Pairs at rest that are looked for where there is a new one."""


class Shared:
    """What one recipient gets: kept with its stream.

    Attributes:
        senders: How many of each rank have something of their own.
    """

    __slots__ = ("_rates", "senders")

    def __init__(self, now: float) -> None:
        self.senders = {Rank.CLAIMED: 0, Rank.SEEN: 0}
        self._rates = {rank: Rate(SHARED_PER_SECOND, SHARED_BURST, now) for rank in self.senders}

    def take(self, rank: Rank, now: float) -> bool:
        """Takes one message of what all of that rank share."""
        return self._rates[rank].take(now)


class Own(Rate):
    """What one sender has for itself at one recipient."""

    __slots__ = ("rank", "shared")

    def __init__(self, rank: Rank, shared: Shared, now: float) -> None:
        super().__init__(OWN_PER_SECOND, OWN_BURST, now)
        self.rank, self.shared = rank, shared


class Shares:
    """What each sender has for itself, at all recipients together; bounded."""

    def __init__(self) -> None:
        self._own: dict[tuple[str, str], Own] = {}
        """Those that sent last are at the end."""

    def __len__(self) -> int:
        return len(self._own)

    def take(self, recipient: str, shared: Shared, rank: Rank, source: str, now: float) -> bool:
        """Takes one message; returns False when neither the sender nor all together have one left.

        Args:
            recipient: The recipient's key.
            shared: Of the recipient's stream.
            rank: Of the sender; not a proven one.
            source: The sender's key where management knows it at this address, else the network that it comes from.
            now: Seconds, monotone.
        """
        pair = recipient, source
        own = self._own.pop(pair, None)
        if own is None or own.shared is not shared:  # the recipient has another stream now
            own = self._new(rank, shared, now)
        if own is None:
            return shared.take(rank, now)
        self._own[pair] = own
        return own.take(now) or shared.take(rank, now)

    def _new(self, rank: Rank, shared: Shared, now: float) -> Own | None:
        for _ in range(FORGOTTEN):
            first = next(iter(self._own), None)
            if first is None or not self._own[first].is_full(now):
                break
            rests = self._own.pop(first)
            rests.shared.senders[rests.rank] -= 1
        if shared.senders[rank] >= MOST_OF_ONE or len(self._own) >= MOST:
            return None
        shared.senders[rank] += 1
        return Own(rank, shared, now)
