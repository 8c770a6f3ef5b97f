"""Which peers are online, for people to see: written down some seconds late and many at once, never on the hot path."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import attrs

from meshloom.errors import MeshError
from meshloom.model.ids import AccountID, PeerID
from meshloom.model.peer import Peer
from meshloom_management.accounts import Accounts
from meshloom_management.draft import Draft
from meshloom_management.operations.enrolment import remove_stale

_log = logging.getLogger(__name__)

WRITE_EVERY = 2.0
COMING_BACK = 30.0
"""Seconds after the start in which agents come back: who is away until then is not known."""


class Presence:
    """Counts each peer's open streams; run :meth:`run` in a task group while it is in use.

    Args:
        ephemeral_after: How long an ephemeral peer may be away before it is removed, by the clock that never jumps;
            time in which the server was away itself does not count.
    """

    def __init__(
        self,
        accounts: Accounts,
        ephemeral_after: timedelta = timedelta(minutes=10),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts, self._ephemeral_after = accounts, ephemeral_after
        self._monotonic, self._began = monotonic, monotonic()
        self._left: dict[PeerID, float] = {}
        self._open: dict[PeerID, int] = {}
        self._news: dict[AccountID, dict[PeerID, str]] = {}
        self._wake = anyio.Event()

    @asynccontextmanager
    async def of(self, account: AccountID, peer: PeerID, address: str) -> AsyncIterator[None]:
        """The peer is connected, from that address, while the body runs."""
        self._open[peer] = self._open.get(peer, 0) + 1
        self._left.pop(peer, None)
        self._note(account, peer, address)
        try:
            yield
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]
                self._left[peer] = self._monotonic()
            self._note(account, peer, "")

    def away(self, peers: Iterable[Peer]) -> list[tuple[Peer, float]] | None:
        """Returns those of the peers that have no stream, each with for how many seconds; None while all come back."""
        now, date = self._monotonic(), self._accounts.now()
        if now < self._began + COMING_BACK:
            return None
        found = []
        for peer in peers:
            if peer.id not in self._open:
                left = self._left.get(PeerID(peer.id))
                since = (date - peer.last_seen).total_seconds() if left is None else now - left
                found.append((peer, max(0.0, since)))
        return found

    async def run(self) -> None:
        """Write what is new, and remove ephemeral peers that stay away."""
        await self.write_all()  # whom a server that was killed had left as connected
        while True:
            with anyio.move_on_after(60):
                await self._wake.wait()
            await anyio.sleep(WRITE_EVERY)
            self._wake = anyio.Event()
            try:
                await self.write()
                await self.remove_ephemeral()
            except MeshError as error:
                _log.warning("who is connected could not be written down: %s", error)

    async def write_all(self) -> None:
        """Compare every peer with what is stored of it."""
        for account, state in self._accounts.all().items():
            for peer in state.peers.values():
                if peer.connected != (peer.id in self._open):
                    self._note(account, PeerID(peer.id), "")
        await self.write()

    async def write(self) -> None:
        """Write what is new in one transaction of each account."""
        news, self._news = self._news, {}
        for account, peers in news.items():
            try:
                await self._accounts.change(account, lambda draft, peers=peers: self._put(draft, peers))  # type: ignore[misc]
            except MeshError:
                self._news.setdefault(account, {}).update(peers)
                raise

    async def remove_ephemeral(self) -> None:
        """Remove ephemeral peers that have been away for too long."""
        now = self._accounts.now()
        latest = self._monotonic() - self._ephemeral_after.total_seconds()
        if self._began <= latest:  # before that no moment of leaving may be forgotten
            self._left = {peer: left for peer, left in self._left.items() if left > latest}
        for account, state in list(self._accounts.all().items()):
            stale = [
                PeerID(peer.id)
                for peer in state.peers.values()
                if peer.ephemeral
                and peer.id not in self._open
                and self._left.get(PeerID(peer.id), self._began) <= latest
                and self._is_long(now - peer.last_seen)
            ]
            if stale:
                await self._accounts.change(account, lambda draft, stale=stale: remove_stale(draft, stale))  # type: ignore[misc]

    def _is_long(self, away: timedelta) -> bool:
        """A span before now says nothing: the clock was set back."""
        return away >= self._ephemeral_after or away < timedelta()

    def _put(self, draft: Draft, peers: dict[PeerID, str]) -> None:
        known = draft.state.peers
        for id, address in peers.items():
            peer = known.get(id)
            if peer is not None:
                draft.put(
                    attrs.evolve(
                        peer,
                        connected=id in self._open,
                        last_seen=draft.now,
                        connection_ip=address or peer.connection_ip,
                    )
                )

    def _note(self, account: AccountID, peer: PeerID, address: str) -> None:
        self._news.setdefault(account, {})[peer] = address
        self._wake.set()
