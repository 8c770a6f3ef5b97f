"""What management knows of the keys that use the signal service."""

from meshloom.model.keys import PublicKey
from meshloom.model.state import AccountState
from meshloom.netmap.change import Change
from meshloom_management.accounts import Accounts
from meshloom_signal.service import SignalService


class RegisteredPeers:
    """The peers of all accounts: nobody else connects to signal or sends.

    Their keys are kept as the text that messages name them by, since each message is looked up.
    """

    are_registered = True

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._keys = {peer.key.text for state in accounts.all().values() for peer in state.peers.values()}
        accounts.listen(self._follow)

    def _follow(self, before: AccountState, after: AccountState, change: Change) -> None:
        for id in change.peers:
            if (old := before.peers.get(id)) is not None:
                self._keys.discard(old.key.text)
        for id in change.peers:
            if (new := after.peers.get(id)) is not None:
                self._keys.add(new.key.text)

    def knows(self, key: str) -> bool:
        """Tells whether a peer has that key."""
        return key in self._keys

    def address(self, key: str) -> str:
        """Returns the address from which the peer last called management; empty where it has not."""
        found = self._accounts.find_peer(PublicKey(key))
        return "" if found is None else found[1].connection_ip

    def needs_proof(self, key: str) -> bool:
        """Tells whether the peer is an agent that proves its requests."""
        found = self._accounts.find_peer(PublicKey(key))
        return found is not None and found[1].proves


def end_removed(accounts: Accounts, signal: SignalService) -> None:
    """Has the signal streams of peers ended as soon as they are removed."""

    def changed(before: AccountState, after: AccountState, change: Change) -> None:
        for id in change.peers - after.peers.keys():
            removed = before.peers.get(id)
            if removed is not None:
                signal.remove(removed.key.text)

    accounts.listen(changed)
