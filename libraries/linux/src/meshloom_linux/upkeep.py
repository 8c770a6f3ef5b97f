"""Puts several parts of a device back, each whether or not the others can be."""

from collections.abc import Awaitable, Callable, Sequence

from meshloom.errors import TunnelError


async def in_turn(*parts: Callable[[], Awaitable[Sequence[str]]]) -> tuple[str, ...]:
    """Calls one after the other; returns all that they tell.

    Raises:
        TunnelError: One or more of them raised it, after all were called; it has the words of all.
    """
    said: list[str] = []
    failures: list[TunnelError] = []
    for part in parts:
        try:
            said += await part()
        except TunnelError as error:
            failures.append(error)
    if failures:
        raise TunnelError("; ".join(dict.fromkeys(map(str, failures)))) from failures[0]
    return tuple(said)
