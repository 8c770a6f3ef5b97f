"""Entries of maps, each encoded once and kept while what it shows stays the same."""

from collections.abc import Callable, Collection, Hashable
from functools import partial

from meshloom.model.ids import PeerID, PolicyID
from meshloom.model.peer import Peer
from meshloom.model.policy import Rule
from meshloom.netmap.change import shown
from meshloom.netmap.reach import EffectiveRule
from meshloom_management.maps.entries import Profile, record_entries, remote_entry, rule_entries


class Table:
    """Entries of one kind for one kind of receiver, one of each peer.

    Args:
        encode: Makes an entry.
        in_use: False once what it shows has changed for all peers, and another table shows that.
    """

    def __init__(self, encode: Callable[[Peer], bytes]) -> None:
        self._encode = encode
        self.in_use = True
        self._entries: dict[PeerID, tuple[Peer, bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, peer: Peer) -> bytes:
        """The peer's, encoded anew only where maps show something else of it."""
        id = PeerID(peer.id)
        known = self._entries.get(id)
        if known is not None and known[0] is peer:
            return known[1]
        same = known is not None and shown(known[0]) == shown(peer)
        data = known[1] if known is not None and same else self._encode(peer)
        self._entries[id] = peer, data
        return data

    def forget(self, peer: PeerID) -> None:
        """Drop a peer's."""
        self._entries.pop(peer, None)


class Fragments:
    """The tables of one account; they outlive its snapshots."""

    def __init__(self) -> None:
        self._tables: dict[Hashable, Table] = {}
        self._rules: dict[tuple[PolicyID, str, int, Profile], tuple[Rule, Table]] = {}

    def remotes(self, domain: str, *, ipv6: bool) -> Table:
        """Entries of ``NetworkMap.remotePeers``."""
        return self._table(("remote", domain, ipv6), partial(remote_entry, domain=domain, ipv6=ipv6))

    def records(self, domain: str, *, ipv6: bool) -> Table:
        """Entries of ``CustomZone.Records``."""
        return self._table(("record", domain, ipv6), partial(record_entries, domain=domain, ipv6=ipv6))

    def rules(self, effective: EffectiveRule, direction: int, profile: Profile) -> Table:
        """Entries of ``NetworkMap.FirewallRules``."""
        key = effective.policy, effective.rule.id, direction, profile
        known = self._rules.get(key)
        if known is None or known[0] is not effective.rule:

            def encode(peer: Peer) -> bytes:
                return rule_entries(effective, direction, peer, profile)

            if known is not None:
                known[1].in_use = False
            known = self._rules[key] = effective.rule, Table(encode)
        return known[1]

    def forget_peer(self, peer: PeerID) -> None:
        """Drop what shows a peer that is gone."""
        for table in self._tables.values():
            table.forget(peer)
        for _, table in self._rules.values():
            table.forget(peer)

    def forget_policies(self, policies: Collection[PolicyID]) -> None:
        """Drop what shows policies that changed or are gone."""
        for key in [key for key in self._rules if key[0] in policies]:
            self._rules.pop(key)[1].in_use = False

    def forget_names(self) -> None:
        """Drop what shows the domain."""
        for table in self._tables.values():
            table.in_use = False
        self._tables.clear()

    def _table(self, key: Hashable, encode: Callable[[Peer], bytes]) -> Table:
        known = self._tables.get(key)
        if known is None:
            known = self._tables[key] = Table(encode)
        return known
