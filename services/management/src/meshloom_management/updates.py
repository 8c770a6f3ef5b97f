"""Who is connected, and what each of them must be sent: the newest map, once, when it differs from the last."""

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
from meshloom_management.maps.builder import MapBuilder, config_only, netbird_config
from meshloom_management.maps.fragments import Fragments

SMALL = 16
"""Peers of a round that need not wait: what concerns a few is told them at once, whatever the others wait for."""
PACE_PEER = 0.0008
PACE_BYTE = 2e-8
"""Seconds to the next round of updates for each peer and byte of the last, some four times what building, sealing and
sending take: a burst of changes costs a bounded share of CPU (a thousand peers that enrol into one mesh have a round
every five seconds), and the first change of a quiet time goes out at once."""


class Ended(Enum):
    """Why a stream ended."""

    REMOVED = auto()
    REPLACED = auto()
    STOPPING = auto()


class Stream:
    """One connected peer. It holds no map: the newest is built when it can be sent.

    Attributes:
        scope: What the peer is sent is sent within; cancelled where the peer must not be sent any more.
    """

    def __init__(self, updates: "Updates", account: AccountID, peer: PeerID) -> None:
        self.account, self.peer = account, peer
        self.scope = anyio.CancelScope()
        self._updates = updates
        self._news = anyio.Event()
        self._news.set()
        self._last: int | None = None
        self._config_due = False
        self.ended: Ended | None = None

    def notify(self) -> None:
        """There may be a newer map."""
        self._news.set()

    def renew_config(self) -> None:
        """Credentials are to be sent again, map or not."""
        self._config_due = True
        self._news.set()

    def end(self, why: Ended) -> None:
        """No further map; the iteration stops, also where it waits for a peer that does not read."""
        if self.ended is None:
            self.ended = why
        if why is not Ended.STOPPING:
            self.scope.cancel()
        self._news.set()

    @property
    def has_news(self) -> bool:
        """Whether there may be something to send, or the stream has ended."""
        return self._news.is_set()

    async def wait(self) -> bool:
        """Wait until there may be something to send; False when the stream has ended."""
        await self._news.wait()
        return self.ended is None

    def take(self, more: bytes = b"") -> bytes | None:
        """The newest ``SyncResponse``, encoded, and *more* fields of it; None where the peer has just that already."""
        if self.ended is not None:
            return None  # the news of it stays
        self._news = anyio.Event()
        builder = self._updates.builder(self.account)
        if self.peer not in builder.state.peers:
            return None
        built = builder.build(self.peer)
        seen = hash((built.digest, builder.state.account.settings.metrics_push_enabled))
        renew, self._config_due = self._config_due, False
        if seen == self._last:
            return config_only(self._updates.config(builder.state, self.peer), more) if renew else None
        first, self._last = self._last is None, seen
        config = self._updates.config(builder.state, self.peer)
        body = built.sync_response(builder.state.account.serial, config, more)
        if not first:
            self._updates.spent(self.account, len(body))
        return body


@attrs.define
class _Round:
    """Peers of an account that wait to be notified together."""

    waiting: set[PeerID] = attrs.field(factory=set)
    not_before: float = 0.0


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
        self._renew_every = addresses.renew_every
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

    def config(self, state: AccountState, peer: PeerID) -> bytes:
        """Where a peer of the account finds the other services, encoded."""
        metrics = state.account.settings.metrics_push_enabled
        return netbird_config(self._addresses, state.peers[peer], metrics=metrics, now=self._accounts.now())

    def renew_config(self) -> None:
        """Send all connected peers where the other services are, with new credentials."""
        for stream in list(self._streams.values()):
            stream.renew_config()

    def stop(self) -> None:
        """End all streams, so that the peers connect to another instance or again."""
        self._stopping = True
        for stream in self._streams.values():
            stream.end(Ended.STOPPING)

    def spent(self, account: AccountID, size: int) -> None:
        """An update of that size was built: the account's next round waits the longer."""
        self._rounds.setdefault(account, _Round()).not_before += PACE_BYTE * size

    async def run(self) -> None:
        """Release the rounds that were put off, and renew credentials before they expire."""
        renew_at = self._monotonic() + self._renew_every
        while True:
            due = [round_.not_before for round_ in self._rounds.values() if round_.waiting]
            self._wake = anyio.Event()
            with anyio.move_on_after(max(0.0, min([*due, renew_at]) - self._monotonic())):
                await self._wake.wait()
            for round_ in self._rounds.values():
                self._release(round_)
            if self._monotonic() >= renew_at:
                renew_at = self._monotonic() + self._renew_every
                self.renew_config()

    def _changed(self, before: AccountState, after: AccountState, change: Change) -> None:
        account = after.account.id
        old = self._builders.get(account)
        if not change:
            if old is not None and old.state is before:
                old.state = after  # nothing that a map shows
            return
        if old is None or old.state is not before:
            old = MapBuilder(before, self._fragments.setdefault(account, Fragments()), self._domain)
        new = self._builders[account] = old.following(after, change)
        concerned = affected(change, (before, old.reach), (after, new.reach))
        fragments = self._fragments[account]
        fragments.forget_policies(change.policies)
        if change.settings:
            fragments.forget_names()
        for gone in change.peers - after.peers.keys():
            fragments.forget_peer(gone)
            if gone in self._streams:
                self._streams[gone].end(Ended.REMOVED)
        round_ = self._rounds.setdefault(account, _Round())
        round_.waiting |= concerned & self._streams.keys()
        self._release(round_)
        if round_.waiting:
            self._wake.set()

    def _release(self, round_: _Round) -> None:
        now = self._monotonic()
        if not round_.waiting or (now < round_.not_before and len(round_.waiting) > SMALL):
            return
        for peer in round_.waiting:
            if (stream := self._streams.get(peer)) is not None:
                stream.notify()
        round_.not_before = max(now, round_.not_before) + PACE_PEER * len(round_.waiting)
        round_.waiting = set()
