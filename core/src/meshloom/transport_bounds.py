"""Bounds for what the other side of a connection makes a transport do or keep, shared by the transports; pure."""

from meshloom.errors import ProtocolError

CONTROL_BURST = 100
CONTROL_RATE = 10.0
"""Frames without a message (pings, pongs, empty fragments) that may come at once, and that may follow each second."""
MOST_FRAGMENTS = 128
"""Fragments of one message at most: a proxy may split a message, but not into single bytes."""
LONGEST_HANDSHAKE = 16 * 1024
"""Bytes of the HTTP request that begins a connection, or of its answer, at most."""


class Allowance:
    """A token bucket: how often something may happen.

    Args:
        burst: Times that it may happen at once.
        rate: Times that it may happen each second after that.
        now: Seconds, of any clock; the same clock counts in :meth:`take`.
    """

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = self._left = burst
        self._rate, self._since = rate, now

    def take(self, now: float) -> bool:
        """Counts one time; False where it is one too many, which is not counted."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class FrameRefused(ProtocolError):
    """A frame of the other side that ends its connection.

    Attributes:
        code: WebSocket's code to close with (RFC 6455 section 7.4.1).
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Frames:
    """What comes beside whole messages: fragments of one, and frames that bring nothing. Made when the first comes.

    Args:
        now: Seconds, of any clock; the same clock counts in the methods.

    Attributes:
        is_within: Whether a message has begun and is not whole.
    """

    __slots__ = ("_allowance", "_count", "_parts", "is_within")

    def __init__(self, now: float) -> None:
        self._allowance = Allowance(CONTROL_BURST, CONTROL_RATE, now)
        self._parts = bytearray()
        self._count, self.is_within = 0, False

    def count_idle(self, now: float) -> None:
        """Counts a frame without a message: a ping, a pong, an empty fragment.

        Raises:
            FrameRefused: There are too many.
        """
        if not self._allowance.take(now):
            raise FrameRefused(1008, "too many frames without a message")

    def add(self, part: bytes | bytearray | memoryview, *, is_last: bool, longest: int, now: float) -> bytes | None:
        """Adds a fragment of a message; returns the message with its last one.

        Raises:
            FrameRefused: The message has more than *longest* bytes, or too many fragments.
        """
        if not part and not is_last:
            self.count_idle(now)
        self._count += 1
        if len(self._parts) + len(part) > longest:
            raise FrameRefused(1009, "a message is too long")
        if self._count > MOST_FRAGMENTS:
            raise FrameRefused(1008, "a message has too many fragments")
        self._parts += part
        self.is_within = not is_last
        if not is_last:
            return None
        whole, self._parts, self._count = bytes(self._parts), bytearray(), 0
        return whole
