"""What waits for all slow readers together: one bound for the whole relay, and who gives way when it is reached."""

from typing import Generic, TypeVar

H = TypeVar("H")

OVERHEAD = 64
"""Bytes that a kept packet costs in addition to its own."""


class Backlog(Generic[H]):
    """The bytes that each holder keeps, and their sum.

    Holders stand in classes by the length of their number of bytes in binary: the largest is found without looking at
    all of them, to within a factor of two.

    Args:
        most: Bytes of all holders together.
    """

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._classes: list[dict[H, None]] = [{} for _ in range(64)]

    @property
    def is_over(self) -> bool:
        """Whether more is held than may be: let :meth:`largest` drop something until it is not."""
        return self.held > self._most

    def move(self, holder: H, before: int, after: int) -> None:
        """Counts a holder's bytes, that were *before* and are *after*."""
        self.held += after - before
        old, new = before.bit_length(), after.bit_length()
        if old != new:
            if old:
                del self._classes[old][holder]
            if new:
                self._classes[new][holder] = None

    def largest(self) -> H:
        """Returns a holder of most, or of more than half as much.

        Raises:
            LookupError: Nothing is held.
        """
        for holders in reversed(self._classes):
            if holders:
                return next(iter(holders))
        raise LookupError("nothing is held")
