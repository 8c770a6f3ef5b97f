"""Who is connected, and what each of them must be sent: the newest map, once, when it differs from the last."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto

import anyio
import attrs

from meshloom.model.ids import AccountID, PeerID
from meshloom.model.state import AccountState
from meshloom.netmap.affected import affected
from meshloom.netmap.change import Change
from meshloom_management.accounts import Accounts
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.maps.builder import MapBuilder, netbird_config
from meshloom_management.maps.fragments import Fragments

_log = logging.getLogger(__name__)

PACE = 0.001
"""Seconds to the next round of updates for each peer of the last: bursts of changes cost a bounded share of CPU."""


class Ended(Enum):
    """Why a stream ended."""

    REMOVED = auto()
    REPLACED = auto()
    STOPPING = auto()


class Stream:
    """One connected peer. It holds no map: the newest is built when it can be sent."""

    def __init__(self, updates: "Updates", account: AccountID, peer: PeerID) -> None:
        self.account, self.peer = account, peer
        self._updates = updates
        self._news = anyio.Event()
        self._news.set()
        self._last: int | None = None
        self._config: bytes = b""
        self.ended: Ended | None = None

    def notify(self) -> None:
        """There may be a newer map."""
        self._news.set()

    def end(self, why: Ended) -> None:
        """No further map; the iteration stops."""
        if self.ended is None:
            self.ended = why
        self._news.set()

    async def wait(self) -> bool:
        """Wait until there may be something to send; False when the stream has ended."""
        await self._news.wait()
        return self.ended is None

    def take(self) -> bytes | None:
        """The newest ``SyncResponse``, encoded; None where the peer has just that already."""
        self._news = anyio.Event()
        if self.ended is not None:
            return None
        builder = self._updates.builder(self.account)
        if self.peer not in builder.state.peers:
            return None
        built = builder.build(self.peer)
        config = self._updates.config(builder.state)
        seen = hash((built.content, builder.state.account.settings.metrics_push_enabled))
        if seen == self._last:
            return None
        self._last = seen
        return built.sync_response(builder.state.account.serial, config)


@attrs.define
class _Round:
    """Peers of an account that wait to be notified together."""

    waiting: set[PeerID] = attrs.field(factory=set)
    not_before: float = 0.0
    scheduled: bool = False


class Updates:
    """The connected peers of all accounts.

    Run :meth:`run` in a task group while it is in use.

    Args:
        default_domain: DNS domain of accounts that set none.
        monotonic: Seconds.
    """

    def __init__(
        self,
        accounts: Accounts,
        addresses: ServiceAddresses,
        default_domain: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts, self._addresses, self._domain, self._monotonic = accounts, addresses, default_domain, monotonic
        self._streams: dict[PeerID, Stream] = {}
        self._builders: dict[AccountID, MapBuilder] = {}
        self._fragments: dict[AccountID, Fragments] = {}
        self._rounds: dict[AccountID, _Round] = {}
        self._wake = anyio.Event()
        self._stopping = False
        accounts.listen(self._changed)

    def __len__(self) -> int:
        return len(self._streams)

    def is_connected(self, peer: PeerID) -> bool:
        """Whether a peer's stream is open."""
        return peer in self._streams

    @asynccontextmanager
    async def connected(self, account: AccountID, peer: PeerID) -> AsyncIterator[Stream]:
        """A peer's stream; an older one of the same peer ends."""
        old = self._streams.get(peer)
        if old is not None:
            old.end(Ended.REPLACED)
        stream = self._streams[peer] = Stream(self, account, peer)
        if self._stopping:
            stream.end(Ended.STOPPING)
        try:
            yield stream
        finally:
            if self._streams.get(peer) is stream:
                del self._streams[peer]

    def builder(self, account: AccountID) -> MapBuilder:
        """Maps of the account's newest snapshot."""
        state = self._accounts.state(account)
        known = self._builders.get(account)
        if known is None or known.state is not state:
            fragments = self._fragments.setdefault(account, Fragments())
            known = self._builders[account] = MapBuilder(state, fragments, self._domain)
        return known

    def config(self, state: AccountState) -> bytes:
        """Where peers of the account find the other services, encoded."""
        metrics = state.account.settings.metrics_push_enabled
        return netbird_config(self._addresses, metrics=metrics, now=self._accounts.now())

    def stop(self) -> None:
        """End all streams, so that the peers connect to another instance or again."""
        self._stopping = True
        for stream in self._streams.values():
            stream.end(Ended.STOPPING)

    async def run(self) -> None:
        """Release the rounds that were put off."""
        while True:
            due = [round_.not_before for round_ in self._rounds.values() if round_.waiting]
            self._wake = anyio.Event()
            if not due:
                await self._wake.wait()
                continue
            with anyio.move_on_after(max(0.0, min(due) - self._monotonic())):
                await self._wake.wait()
            for round_ in self._rounds.values():
                self._release(round_)

    def _changed(self, before: AccountState, after: AccountState, change: Change) -> None:
        account = after.account.id
        old = self._builders.get(account)
        if not change:
            if old is not None and old.state is before:
                old.state = after  # nothing that a map shows
            return
        if old is None or old.state is not before:
            old = MapBuilder(before, self._fragments.setdefault(account, Fragments()), self._domain)
        concerned = affected(change, (before, old.reach), (after, self.builder(account).reach))
        for gone in change.peers - after.peers.keys():
            self._fragments[account].forget(gone)
            if gone in self._streams:
                self._streams[gone].end(Ended.REMOVED)
        round_ = self._rounds.setdefault(account, _Round())
        round_.waiting |= concerned & self._streams.keys()
        self._release(round_)
        if round_.waiting:
            self._wake.set()

    def _release(self, round_: _Round) -> None:
        now = self._monotonic()
        if not round_.waiting or now < round_.not_before:
            return
        for peer in round_.waiting:
            if (stream := self._streams.get(peer)) is not None:
                stream.notify()
        round_.not_before = now + PACE * len(round_.waiting)
        round_.waiting = set()
