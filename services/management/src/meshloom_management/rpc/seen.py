"""Sealed messages that came already: each counts once, as nobody but its sender and the server can seal another."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.freshness import derived_key

MARK: Final = 8
"""Bytes that a nonce is remembered by, and its sender."""
LONGEST: Final = 256
"""Messages of one sender that are remembered, the newest."""
SHORTEST: Final = 16
"""The same where so many senders are registered that there is no room for more."""
MOST: Final = 32 << 20
"""Bytes that all senders' messages take together, about."""
OVERHEAD: Final = 250
"""Bytes that a sender takes beside its messages, about."""
STRANGERS: Final = 1024
"""Senders without a registration whose newest messages are remembered, for the case that they register."""
OF_STRANGER: Final = 8

Keep = Callable[[bytes, bytes], None]


class SeenNonces:
    """Remembers the nonces of senders that are or were registered, as long as it can.

    Each sender has room of its own: one's traffic pushes out nothing of another's. Senders that were removed are
    remembered until the room is needed, those that were silent the longest go first; what they send meanwhile is
    remembered too, as they may be registered again. Nothing is kept for good of strangers, who could make as many keys
    as they like.

    Args:
        private: The server's key; the marks are made with a secret derived from it.
        registered: Returns the keys that are registered now.
        keep: Is called with a sender's mark and the marks of its messages before they count as seen.
    """

    def __init__(
        self,
        private: PrivateKey,
        registered: Callable[[], Iterable[PublicKey]],
        keep: Keep = lambda _sender, _marks: None,
        most: int = MOST,
    ) -> None:
        self._secret = derived_key(private, "meshloom seen nonces")
        self._registered, self._keep, self._most = registered, keep, most
        self._longest = LONGEST
        self._senders: dict[bytes, bytearray] = {}
        self._strangers: dict[bytes, bytearray] = {}
        self.size = 0

    def see(self, sender: PublicKey, nonce: bytes, *, registered: bool) -> bool:
        """Takes note of a message; returns False where it came already."""
        id, mark = self._mark(sender.text.encode()), self._mark(nonce)
        if _has(self._senders.get(id), mark) or _has(self._strangers.get(id), mark):
            return False
        if registered or id in self._senders:
            self._add(id, bytes(self._strangers.pop(id, b"")) + mark)
        else:
            self._see_stranger(id, mark)
        return True

    def register(self, sender: PublicKey) -> None:
        """Remembers a sender that is registered, or was, and what was seen of it as a stranger."""
        id = self._mark(sender.text.encode())
        marks = bytes(self._strangers.pop(id, b""))
        if marks or id not in self._senders:
            self._add(id, marks)

    def remembers(self, sender: PublicKey) -> bool:
        """Tells whether a sender is registered, or was."""
        return self._mark(sender.text.encode()) in self._senders

    def restore(self, sender: bytes, marks: bytes) -> None:
        """Takes over what was kept earlier."""
        self._put(sender, marks)

    def all(self) -> Iterator[tuple[bytes, bytes]]:
        """Yields each sender's mark and those of its messages, to be kept together."""
        for sender, marks in self._senders.items():
            yield sender, bytes(marks)

    def _add(self, id: bytes, marks: bytes) -> None:
        self._keep(id, marks)
        self._put(id, marks)
        if self.size > self._most:
            self._shrink()

    def _put(self, id: bytes, marks: bytes) -> None:
        kept = self._senders.pop(id, None)
        if kept is None:
            kept = bytearray()
            self.size += OVERHEAD
        before = len(kept)
        kept += marks
        _shorten(kept, self._longest)
        self.size += len(kept) - before
        self._senders[id] = kept  # at the end: it was silent the shortest

    def _shrink(self) -> None:
        """Makes room: an eighth, so that this is seldom done."""
        enough = self._most - self._most // 8
        registered = {self._mark(key.text.encode()) for key in self._registered()}
        for id in [id for id in self._senders if id not in registered]:
            if self.size <= enough:
                return
            self.size -= OVERHEAD + len(self._senders.pop(id))
        while self.size > enough and self._longest > SHORTEST:
            self._longest = max(SHORTEST, self._longest // 2)
            for kept in self._senders.values():
                before = len(kept)
                _shorten(kept, self._longest)
                self.size += len(kept) - before

    def _see_stranger(self, id: bytes, mark: bytes) -> None:
        kept = self._strangers.pop(id, bytearray())
        kept += mark
        _shorten(kept, OF_STRANGER)
        self._strangers[id] = kept
        if len(self._strangers) > STRANGERS:
            del self._strangers[next(iter(self._strangers))]

    def _mark(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._secret, digest_size=MARK).digest()


def _has(marks: bytearray | None, mark: bytes) -> bool:
    if marks is None:
        return False
    at = marks.find(mark)
    while at >= 0 and at % MARK:  # the end of one and the beginning of the next
        at = marks.find(mark, at + 1)
    return at >= 0


def _shorten(marks: bytearray, longest: int) -> None:
    if len(marks) > longest * MARK:
        del marks[: len(marks) - longest * MARK]
