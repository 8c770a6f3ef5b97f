"""Which peers the relay of ``meshloom-server`` accepts: it knows at once who is registered and who was removed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change
from meshloom.protocol.relay import RelayPeerID, relay_peer_id
from meshloom.protocol.relay_token import RelayToken
from meshloom_management.accounts import Accounts

MOST_REMOVED = 100_000
"""Removed peers that are remembered; then the first is forgotten."""


class Registered:
    """The peers of all accounts, by the ids that relays know.

    A secret that an administrator chose may be another management's as well: then only peers that were removed here,
    and those that a token says to be of an account here, are refused. A secret that this server made for itself is
    nobody else's: then all peers are refused that are not registered.

    Args:
        accounts: All accounts.
        is_only: Whether nobody else knows the secret of tokens.
        lifetime: How long a token is good: for so long a removed peer is remembered.
    """

    def __init__(self, accounts: Accounts, *, is_only: bool, lifetime: timedelta) -> None:
        self.removed: Callable[[RelayPeerID], None] = lambda _: None
        """Called with each peer that is registered no longer."""
        self._accounts, self._is_only, self._lifetime = accounts, is_only, lifetime
        self._ids = {relay_peer_id(peer.key) for state in accounts.all().values() for peer in state.peers.values()}
        self._gone: dict[RelayPeerID, datetime] = {}
        accounts.listen(self._changed)

    def refusal(self, id: RelayPeerID, token: RelayToken) -> str:
        """Returns why a peer with a good token is not accepted; empty where it is."""
        if id in self._ids:
            return ""
        is_ours = self._is_only or token.account in self._accounts.all()
        return "not registered" if is_ours or self._was_removed(id) else ""

    def _was_removed(self, id: RelayPeerID) -> bool:
        since = self._gone.get(id)
        return since is not None and self._accounts.now() - since <= self._lifetime

    def _changed(self, before: AccountState, after: AccountState, change: Change) -> None:
        for id in change.peers:
            old, new = _id_of(before.peers.get(PeerID(id))), _id_of(after.peers.get(PeerID(id)))
            if new is not None:
                self._ids.add(new)
                self._gone.pop(new, None)
            if old is not None and old != new:
                self._ids.discard(old)
                self._remember(old)
                self.removed(old)

    def _remember(self, id: RelayPeerID) -> None:
        self._gone.pop(id, None)
        self._gone[id] = self._accounts.now()
        if len(self._gone) > MOST_REMOVED:
            del self._gone[next(iter(self._gone))]


def _id_of(peer: Peer | None) -> RelayPeerID | None:
    return relay_peer_id(peer.key) if peer is not None else None
