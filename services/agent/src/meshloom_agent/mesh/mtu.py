"""How large a datagram a direct path carries, found by padded checks (RFC 8899: probing without a word of routers).

A path that drops what is too large for it, and says nothing, lets pings pass and downloads hang. So the size that the
tunnel needs is tried; where it is never answered, the largest that is answered is searched for.
"""

from typing import Final

import attrs

from meshloom.protocol.ice import IceAgent
from meshloom.protocol.stun import Address

SMALLEST: Final = 1232
"""Bytes of UDP payload that every path carries: IPv6's least MTU (RFC 8200 section 5) without its headers."""
STEP: Final = 8
WIREGUARD_BYTES: Final = 32
"""What WireGuard adds to a packet, besides filling it up to a multiple of 16."""
WIREGUARD_PADDING: Final = 16


@attrs.frozen
class MtuTimers:
    """Durations in seconds, and how often.

    Args:
        answer: In which a probe is answered, or lost.
        tries: Probes of one size that must be lost for it to count as too large (RFC 8899 section 5.1.2).
        again: Until a known size is tried anew, and a larger one hoped for.
    """

    answer: float = 0.5
    tries: int = 4
    again: float = 600.0


@attrs.define
class PathMtu:
    """One path's. After each call send a probe of ``probe()`` bytes if it is not None; wake it at ``deadline()``.

    Args:
        wanted: Bytes of the largest datagram that the tunnel has to send.
        size: Bytes that are known to pass, or hoped to as long as nothing else is known.
        is_known: Whether the search has ended.
    """

    wanted: int
    timers: MtuTimers = attrs.field(factory=MtuTimers)
    size: int = attrs.field(init=False)
    is_known: bool = attrs.field(default=False, init=False)
    _low: int = attrs.field(init=False)
    _high: int = attrs.field(init=False)
    _trying: int = attrs.field(default=0, init=False)
    _lost: int = attrs.field(default=0, init=False)
    _due: float | None = attrs.field(default=None, init=False)
    _out: int | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.size = self.wanted
        self._low, self._high = min(SMALLEST, self.wanted), self.wanted

    def start(self, now: float) -> None:
        """The path is new, or has changed: what was known of it is void, what was hoped is tried."""
        self.size, self.is_known = self.wanted, False
        self._search(now)

    def stop(self) -> None:
        """There is no path to probe."""
        self._due, self._out = None, None

    def answered(self, size: int, now: float) -> None:
        """A probe of that size came through."""
        if self._due is None or size != self._trying or self.is_known:
            return
        self._low = max(self._low, size)
        self._next(now)

    def handle_timer(self, now: float) -> None:
        """A probe is lost, or it is time to look again."""
        if self._due is None or now < self._due:
            return
        if self.is_known:
            self.is_known = False
            self._search(now)
            return
        self._lost += 1
        if self._lost < self.timers.tries:
            self._send(self._trying, now)
        else:
            self._high = min(self._high, self._trying - 1)
            self._next(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        return self._due

    def probe(self) -> int | None:
        """Bytes of the probe to send now; once each."""
        out, self._out = self._out, None
        return out

    def _search(self, now: float) -> None:
        self._low, self._high = min(SMALLEST, self.wanted), self.wanted
        self._lost = 0
        self._send(self.wanted, now)

    def _next(self, now: float) -> None:
        self._lost = 0
        if self._high - self._low < STEP:
            self.size, self.is_known, self._out = self._low, True, None
            self._due = now + self.timers.again
        else:
            self._send(self._low + (self._high - self._low + 1) // 2, now)

    def _send(self, size: int, now: float) -> None:
        self._trying, self._out, self._due = size, size, now + self.timers.answer


class PathProbe:
    """Probes one peer's direct path, whichever that is.

    Args:
        mtu: Of the tunnel's interface.
    """

    def __init__(self, mtu: int) -> None:
        self._search = PathMtu(mtu + WIREGUARD_BYTES)
        self._address: Address | None = None

    @property
    def mtu(self) -> int | None:
        """Bytes of the largest packet that passes inside the tunnel; None where that is the interface's."""
        if self._address is None or self._search.size >= self._search.wanted:
            return None
        return (self._search.size - WIREGUARD_BYTES) // WIREGUARD_PADDING * WIREGUARD_PADDING

    def follow(self, address: Address | None, agent: IceAgent | None, now: float) -> None:
        """The direct path as it is now, and the session that sends the probes."""
        if address is None or agent is None:
            self._address = None
            self._search.stop()
            return
        if address != self._address:
            self._address = address
            self._search.start(now)
        for answered in agent.probed:
            self._search.answered(answered, now)
        agent.probed.clear()
        if (size := self._search.probe()) is not None:
            agent.probe(size, now)

    def handle_timer(self, now: float) -> None:
        """A probe is lost, or it is time to look again; call :meth:`follow` then."""
        self._search.handle_timer(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        return self._search.deadline()
