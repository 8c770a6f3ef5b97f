"""Peers that sleep until there is traffic: an idle peer has no connection, no offers, no relay."""

from collections.abc import Mapping

import attrs

from meshloom.model.keys import PublicKey

FIRST_LAZY = (0, 45)
"""The first version of an agent that is woken by an offer as it should be."""

CROSSED = 10.0
"""Seconds from our waking a peer in which its word that it falls asleep is older than that."""

KEEPALIVE_BYTES, KEEPALIVE_EVERY = 32, 25.0
HANDSHAKE_BYTES, HANDSHAKE_EVERY = 2 * (148 + 92) + 4 * KEEPALIVE_BYTES, 120.0
"""Of both sides, which may shake hands at the same time."""


def is_keepalive(packet: bytes) -> bool:
    """Whether a packet of WireGuard's is an empty one, which says only that the last one of the other's arrived."""
    return packet[:1] == b"\4" and len(packet) == KEEPALIVE_BYTES


def is_initiation(packet: bytes) -> bool:
    """Whether a packet of WireGuard's begins a handshake."""
    return packet[:1] == b"\1"


@attrs.frozen
class Asleep:
    """The endpoint of a peer that sleeps: its number at the doorbell."""

    number: int


def can_sleep(version: str) -> bool:
    """Whether an agent of that version wakes up when it is called; builds without a number do."""
    if not version or version.startswith("dev"):
        return version != ""
    parts = version.removeprefix("v").split("-")[0].split(".")
    return len(parts) > 1 and all(map(str.isdecimal, parts)) and tuple(map(int, parts[:2])) >= FIRST_LAZY


@attrs.define
class _Seen:
    traffic: int
    at: float
    active_at: float


@attrs.define
class Activity:
    """Which peers nobody talks with: their traffic is no more than WireGuard's own."""

    _seen: dict[PublicKey, _Seen] = attrs.field(factory=dict)

    def observe(self, traffic: Mapping[PublicKey, int], now: float, threshold: float) -> list[PublicKey]:
        """Those without traffic for *threshold* seconds.

        Args:
            traffic: Bytes in both directions, as WireGuard counts them, of peers that are awake.
            now: Seconds of a clock that does not jump.
            threshold: Seconds.
        """
        idle = []
        seen: dict[PublicKey, _Seen] = {}
        for peer, count in traffic.items():
            before = self._seen.get(peer)
            if before is None or count < before.traffic:
                seen[peer] = _Seen(count, now, now)
                continue
            active = count - before.traffic > _own_traffic(now - before.at)
            seen[peer] = _Seen(count, now, now if active else before.active_at)
            if now - seen[peer].active_at >= threshold:
                idle.append(peer)
        self._seen = seen
        return idle

    def forget(self, peer: PublicKey) -> None:
        """When it wakes, its time begins anew."""
        self._seen.pop(peer, None)


@attrs.define
class Sleepers:
    """Peers that sleep: their numbers at the doorbell, and the packets that rang for them.

    Attributes:
        since: Those that sleep now, and since when.
        activity: Of those that are awake.
        news: Whether one fell asleep since this was last set to False.
    """

    since: dict[PublicKey, float] = attrs.field(factory=dict)
    activity: Activity = attrs.field(factory=Activity)
    news: bool = False
    packets: dict[PublicKey, bytes] = attrs.field(factory=dict)
    """The newest packet of each peer that is being woken: WireGuard repeats it only after 5 s."""
    _woken: dict[PublicKey, float] = attrs.field(factory=dict)
    _numbers: dict[PublicKey, int] = attrs.field(factory=dict)
    _keys: dict[int, PublicKey] = attrs.field(factory=dict)
    _next: int = 0

    def add(self, peer: PublicKey, now: float) -> Asleep:
        """It falls asleep; where its packets ring."""
        self.packets.pop(peer, None)
        self.activity.forget(peer)
        self.since[peer], self.news = now, True
        return Asleep(self.number(peer))

    def wake(self, peer: PublicKey, now: float) -> None:
        """It is awake from now on."""
        self.since.pop(peer, None)
        self._woken[peer] = now

    def is_new(self, peer: PublicKey, now: float) -> bool:
        """Whether it is awake for so short a time that it cannot know of it."""
        return now < self._woken.get(peer, now) + CROSSED

    def number(self, peer: PublicKey) -> int:
        """The same for as long as the peer is in the map."""
        number = self._numbers.get(peer)
        if number is None:
            number, self._next = self._next, self._next + 1
            self._numbers[peer], self._keys[number] = number, peer
        return number

    def __contains__(self, peer: PublicKey) -> bool:
        return peer in self._numbers

    def peer(self, number: int) -> PublicKey | None:
        """Whose number it is."""
        return self._keys.get(number)

    def forget(self, peer: PublicKey) -> None:
        """It has left the map."""
        for each in (self.packets, self.since, self._woken):
            each.pop(peer, None)
        if (number := self._numbers.pop(peer, None)) is not None:
            del self._keys[number]


def _own_traffic(seconds: float) -> float:
    """Bytes that WireGuard exchanges with an idle peer in that time, at the most."""
    keepalives = 2 * (seconds / KEEPALIVE_EVERY + 1) * KEEPALIVE_BYTES
    return keepalives + (seconds / HANDSHAKE_EVERY + 1) * HANDSHAKE_BYTES
