"""The connections of one agent, and how what arrives finds its own."""

import heapq
from collections.abc import Iterator

from meshloom.model.keys import PublicKey
from meshloom.protocol.stun import Attribute
from meshloom_agent.mesh.connection import PeerConnection

USERNAME_AT = 20
"""Where a request's first attribute begins; ICE's requests begin with USERNAME, others are searched for it."""


class Registry:
    """By peer, by the ufrag of requests and by the token of responses; and when each has something to do."""

    def __init__(self) -> None:
        self._by_key: dict[PublicKey, PeerConnection] = {}
        self._by_ufrag: dict[bytes, PeerConnection] = {}
        self._by_token: dict[bytes, PeerConnection] = {}
        self._timers: list[tuple[float, int, PublicKey]] = []
        self._planned: dict[PublicKey, float] = {}
        self._order = 0

    def __iter__(self) -> Iterator[PeerConnection]:
        return iter(list(self._by_key.values()))

    def __contains__(self, peer: PublicKey) -> bool:
        return peer in self._by_key

    def get(self, peer: PublicKey) -> PeerConnection | None:
        """The connection to a peer."""
        return self._by_key.get(peer)

    def add(self, connection: PeerConnection) -> None:
        """A new one."""
        self._by_key[connection.other] = connection
        self._by_ufrag[connection.ufrag.encode()] = connection
        self._by_token[connection.token] = connection

    def remove(self, peer: PublicKey) -> PeerConnection | None:
        """It has ended; None where there was none."""
        connection = self._by_key.pop(peer, None)
        if connection is not None:
            del self._by_ufrag[connection.ufrag.encode()]
            del self._by_token[connection.token]
            self._planned.pop(peer, None)
        return connection

    def addressed(self, data: bytes) -> PeerConnection | None:
        """Whose a STUN message is: a response by its transaction, anything else by the receiver's ufrag."""
        return self._by_token.get(data[8:12]) if data[0] & 1 else self._by_ufrag.get(_receiver(data))

    def plan(self, connection: PeerConnection) -> None:
        """Look at when it has something to do next."""
        key, due = connection.other, connection.deadline()
        if due is None:
            self._planned.pop(key, None)
        elif self._planned.get(key) != due:
            self._planned[key] = due
            self._order += 1
            heapq.heappush(self._timers, (due, self._order, key))

    def due(self, now: float) -> Iterator[PeerConnection]:
        """Those that have something to do; each is planned anew by the caller."""
        while self._timers and self._timers[0][0] <= now:
            time, _, key = heapq.heappop(self._timers)
            connection = self._by_key.get(key)
            if connection is not None and self._planned.get(key) == time:
                del self._planned[key]
                yield connection

    def deadline(self) -> float | None:
        """When the next one has something to do."""
        while self._timers and self._planned.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None


def _receiver(data: bytes) -> bytes:
    """The receiver's ufrag of a request; empty where there is none."""
    at = USERNAME_AT
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4])
        if data[at : at + 2] == Attribute.USERNAME.to_bytes(2):
            return data[at + 4 : at + 4 + size].partition(b":")[0]
        at += 4 + size + -size % 4
    return b""
