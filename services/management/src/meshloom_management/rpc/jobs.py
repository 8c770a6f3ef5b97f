"""Streams that agents keep open for work: none is given yet, and so each costs as little as it can."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import attrs

from meshloom.model.ids import PeerID
from meshloom_front.rpc.call import Call
from meshloom_front.rpc.status import CallFailed, Status

FIRST_WITHIN: Final = 5.0
"""Seconds in which an agent must have said who it is."""
UNKNOWN: Final = 256
"""Streams of all callers together on which nobody has said yet who it is."""


class Jobs:
    """One stream a peer, and few of which it is not known yet whose they are.

    Args:
        first_within: Seconds in which an agent must have said who it is.
    """

    def __init__(self, first_within: float = FIRST_WITHIN) -> None:
        self._first_within = first_within
        self._unknown: dict[anyio.CancelScope, None] = {}
        self._known: dict[PeerID, _Stream] = {}

    def __len__(self) -> int:
        return len(self._unknown) + len(self._known)

    async def serve(self, call: Call, sender: Callable[[bytes], PeerID]) -> None:
        """Keeps the stream open until the agent ends it or opens another one.

        Args:
            call: The stream.
            sender: Returns who sent the first message, or raises.
        """
        requests = call.requests()
        first = await self._first(requests)
        if first is None:
            return
        peer = sender(first)
        self.end(peer, CallFailed(Status.CANCELLED, "the agent has opened another stream"))
        mine = self._known[peer] = _Stream()
        try:
            with mine.scope:
                async for _answer_to_nothing in requests:
                    pass
        finally:
            if self._known.get(peer) is mine:
                del self._known[peer]
        if mine.ended is not None:
            raise mine.ended

    def end(self, peer: PeerID, why: CallFailed) -> None:
        """Ends the stream of a peer, if it has one."""
        if (stream := self._known.pop(peer, None)) is not None:
            stream.ended = why
            stream.scope.cancel()

    async def _first(self, requests: AsyncIterator[bytes]) -> bytes | None:
        """The first message; None where the agent ends the stream without one."""
        if len(self._unknown) >= UNKNOWN:
            oldest = next(iter(self._unknown))  # the one that has had the most time
            del self._unknown[oldest]
            oldest.cancel()
        with anyio.move_on_after(self._first_within) as scope:
            self._unknown[scope] = None
            try:
                return await anext(requests, None)
            finally:
                self._unknown.pop(scope, None)
        raise CallFailed(Status.DEADLINE_EXCEEDED, "the stream did not begin in time")


@attrs.define(eq=False)
class _Stream:
    """A peer's stream; *ended* says why it must end."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    ended: CallFailed | None = None
