"""Entries of many peers one after the other, shared by all maps that show these peers."""

from collections.abc import Collection, Iterable, Iterator

import attrs

from meshloom.model.ids import PeerID
from meshloom.netmap.reach import Peers
from meshloom_management.maps.fragments import Table

MOST_UNSHARED = 8 << 20
"""Bytes of entries that are kept before those that nobody asked for twice are dropped."""


@attrs.frozen
class Joined:
    """Entries one after the other, where each peer's begin and end, and the sum of their hashes."""

    data: bytes = attrs.field(repr=False)
    places: dict[PeerID, tuple[int, int]] = attrs.field(repr=False)
    digest: int

    def followed_by(self, more: Iterable[tuple[PeerID, bytes]]) -> "Joined":
        """With further entries at the end: what is joined is copied as a whole, and not looked at."""
        items, places, at, digest = [self.data], dict(self.places), len(self.data), self.digest
        for id, item in more:
            items.append(item)
            places[id] = at, at + len(item)
            at += len(item)
            digest += hash(item)
        return Joined(b"".join(items), places, digest)

    def without(self, peer: PeerID) -> "Part":
        """All but a peer's own."""
        place = self.places.get(peer)
        if place is None:
            return Part(self.data, None, self.digest)
        return Part(self.data, place, self.digest - hash(self.data[place[0] : place[1]]))


@attrs.frozen
class Part:
    """Some bytes but for a piece; nothing is copied.

    Args:
        digest: Sum of the hashes of the entries, the same however they were come by.
    """

    data: bytes = attrs.field(repr=False)
    cut: tuple[int, int] | None = None
    digest: int = 0

    def __len__(self) -> int:
        return len(self.data) - (self.cut[1] - self.cut[0] if self.cut else 0)

    def pieces(self) -> Iterator[memoryview]:
        """What is left."""
        view = memoryview(self.data)
        if self.cut is None:
            yield view
        else:
            yield view[: self.cut[0]]
            yield view[self.cut[1] :]


NOTHING = Joined(b"", {}, 0)


@attrs.define
class _Kept:
    """The table and set are held so that no other takes their identity."""

    table: Table
    peers: Peers
    joined: Joined
    asked: bool = False


class JoinedEntries:
    """Joined entries by table and set of peers, both by their identity.

    Where every peer sees others than the next, each set is asked for once: keeping them all would be keeping all maps.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], _Kept] = {}
        self._size, self._most = 0, MOST_UNSHARED
        self._earlier: dict[Table, tuple[Peers, Joined]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def following(self, changed: Collection[PeerID], groups: Collection[Peers] = ()) -> "JoinedEntries":
        """For a snapshot in which some peers changed.

        What shows none of them stays where its set is one of *groups*: one that did not change is the same object as
        before. Of each table the largest is remembered, so that more can be added to it.
        """
        same = {id(peers) for peers in groups}
        following = JoinedEntries()
        earlier = following._earlier
        for key, kept in self._kept.items():
            if kept.table.in_use and kept.peers.isdisjoint(changed):
                if id(kept.peers) in same:
                    following._kept[key] = kept
                    following._size += len(kept.joined.data)
                _remember(earlier, kept.table, kept.peers, kept.joined)
        for table, (peers, joined) in self._earlier.items():
            if table.in_use and peers.isdisjoint(changed):
                _remember(earlier, table, peers, joined)
        following._most = max(MOST_UNSHARED, self._most)
        return following

    def begun(self, table: Table, peers: Peers) -> Joined:
        """Entries of some of the peers that are joined already, if perhaps of none."""
        earlier = self._earlier.get(table)
        return earlier[1] if earlier is not None and earlier[0] <= peers else NOTHING

    def get(self, table: Table, peers: Peers) -> Joined | None:
        """What is kept."""
        known = self._kept.get((id(table), id(peers)))
        if known is None:
            return None
        known.asked = True
        return known.joined

    def keep(self, table: Table, peers: Peers, joined: Joined) -> Joined:
        """Keep it for who asks next."""
        if self._size > self._most:
            self._kept = {key: kept for key, kept in self._kept.items() if kept.asked}
            self._size = sum(len(kept.joined.data) for kept in self._kept.values())
            self._most = MOST_UNSHARED + 2 * self._size
            for kept in self._kept.values():
                kept.asked = False
        self._size += len(joined.data)
        self._kept[id(table), id(peers)] = _Kept(table, peers, joined)
        return joined


def _remember(earlier: dict[Table, tuple[Peers, Joined]], table: Table, peers: Peers, joined: Joined) -> None:
    known = earlier.get(table)
    if known is None or len(known[0]) < len(peers):
        earlier[table] = peers, joined
