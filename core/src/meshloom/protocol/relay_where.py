"""Which peers are at a relay, who watches them, and who else claims to be one of them; pure."""

from collections.abc import Iterable
from typing import Generic, TypeVar

import attrs

from meshloom.protocol.relay import RelayPeerID

ANSWER_WITHIN = 3.0
"""Seconds that a connection has to answer a health check while another one claims its peer's id. A client waits 8 s
for the answer to its token."""

S = TypeVar("S")


@attrs.define
class Whereabouts(Generic[S]):
    """Which peers are at this relay, each on one connection *S*, and who watches whom."""

    here: dict[RelayPeerID, S] = attrs.field(factory=dict)
    _watchers: dict[RelayPeerID, set[S]] = attrs.field(factory=dict)

    def arrive(self, peer: RelayPeerID, connection: S) -> tuple[S | None, frozenset[S]]:
        """A peer has come, perhaps a second time.

        Returns:
            The connection that this one replaces, and those to be told that the peer is here: nobody where it was.
        """
        old = self.here.get(peer)
        self.here[peer] = connection
        return old, frozenset() if old is not None else frozenset(self._watchers.get(peer, ()))

    def leave(self, peer: RelayPeerID, connection: S) -> frozenset[S]:
        """A peer's connection is gone; those to be told: nobody where another replaced it before."""
        if self.here.get(peer) is not connection:
            return frozenset()
        del self.here[peer]
        return frozenset(self._watchers.get(peer, ()))

    def watch(self, connection: S, peers: Iterable[RelayPeerID]) -> None:
        """Tells the connection of these from now on."""
        for peer in peers:
            self._watchers.setdefault(peer, set()).add(connection)

    def unwatch(self, connection: S, peers: Iterable[RelayPeerID]) -> None:
        """Tells the connection of these no longer."""
        for peer in peers:
            watching = self._watchers.get(peer, set())
            watching.discard(connection)
            if not watching:
                self._watchers.pop(peer, None)

    def online(self, peers: Iterable[RelayPeerID]) -> list[RelayPeerID]:
        """Those of them that are here."""
        return [peer for peer in peers if peer in self.here]


@attrs.frozen
class Claim(Generic[S]):
    """A connection that waits for an id which another one has.

    Args:
        until: When it gets the id if the other one has not answered by then.
    """

    connection: S
    until: float


@attrs.define
class Claims(Generic[S]):
    """Connections with a token that may be anybody's, for ids that other connections have; one for each id.

    Whoever has the id is asked whether it is there: if it answers, it stays; if it does not, the claimant replaces it.
    A token that names the peer settles the matter at once.
    """

    _waiting: dict[RelayPeerID, Claim[S]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def claim(
        self, peer: RelayPeerID, connection: S, *, is_held: bool, is_named: bool, now: float
    ) -> tuple[bool, S | None]:
        """Takes the claim of a connection with a good token.

        Returns:
            Whether it gets the id at once, and an earlier claimant that is refused. While it waits, whoever has the
            id must be asked; the time to answer runs from the first claim, however many follow.
        """
        earlier = self._waiting.pop(peer, None)
        refused = earlier.connection if earlier is not None else None
        if is_named or not is_held:
            return True, refused
        self._waiting[peer] = Claim(connection, earlier.until if earlier is not None else now + ANSWER_WITHIN)
        return False, refused

    def settle(self, peer: RelayPeerID) -> S | None:
        """Returns the claimant of an id whose holder has answered (it is refused) or is gone (it gets the id)."""
        claim = self._waiting.pop(peer, None)
        return claim.connection if claim is not None else None

    def withdraw(self, peer: RelayPeerID, connection: S) -> None:
        """Forgets a claimant that is gone."""
        if (claim := self._waiting.get(peer)) is not None and claim.connection is connection:
            del self._waiting[peer]

    def due(self, now: float) -> list[RelayPeerID]:
        """Returns the ids whose holders have not answered in time."""
        return [peer for peer, claim in self._waiting.items() if now >= claim.until]
