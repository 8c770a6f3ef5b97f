"""Who is connected, and what each of them must be sent: the newest map, once, when it differs from the last."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto

import anyio

from meshloom.model.ids import AccountID, PeerID
from meshloom.model.state import AccountState
from meshloom.netmap.affected import affected
from meshloom.netmap.change import Change
from meshloom_management.accounts import Accounts
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.maps.builder import MapBuilder, config_only, netbird_config
from meshloom_management.maps.fragments import Fragments
from meshloom_management.rivals import Rivals
from meshloom_management.turns import Turns
from meshloom_management.urgency import Arrivals, Urgency, urgency_of


class Ended(Enum):
    """Why a stream ended."""

    REMOVED = auto()
    REPLACED = auto()
    STOPPING = auto()


class Stream:
    """One connected peer. It holds no map: the newest is built when it can be sent.

    Attributes:
        urgency: Of what there may be to send.
        scope: What the peer is sent is sent within; cancelled where the peer must not be sent any more.
    """

    def __init__(self, updates: "Updates", account: AccountID, peer: PeerID, address: str = "") -> None:
        self.account, self.peer, self.address = account, peer, address
        self.scope = anyio.CancelScope()
        self.urgency = Urgency.NOW
        self._updates = updates
        self._news = anyio.Event()
        self._news.set()
        self._last: int | None = None
        self._config_due = False
        self.ended: Ended | None = None

    def notify(self, urgency: Urgency) -> None:
        """There may be a newer map."""
        if urgency < self.urgency:
            self.urgency = urgency
            self._updates.turns.hasten(self.peer, urgency)
        self._news.set()

    def renew_config(self) -> None:
        """Credentials are to be sent again, map or not."""
        self._config_due = True
        self.notify(Urgency.CHANGE)

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
        self._news, self.urgency = anyio.Event(), Urgency.GROWTH
        builder = self._updates.builder(self.account)
        if self.peer not in builder.state.peers:
            return None
        built = builder.build(self.peer)
        seen = hash((built.digest, builder.state.account.settings.metrics_push_enabled))
        renew, self._config_due = self._config_due, False
        if seen == self._last:
            return config_only(self._updates.config(builder.state, self.peer), more) if renew else None
        self._last = seen
        config = self._updates.config(builder.state, self.peer)
        return built.sync_response(builder.state.account.serial, config, more)


class Updates:
    """The connected peers of all accounts.

    Run :meth:`run` in a task group while it is in use: it renews credentials.

    Args:
        default_domain: DNS domain of accounts that set none.
        monotonic: Seconds.

    Attributes:
        turns: In which maps are built.
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
        self.turns, self._rivals, self._arrivals = Turns(), Rivals(monotonic), Arrivals(monotonic)
        self._stopping = False
        self._renew_every = addresses.renew_every
        accounts.listen(self._changed)

    def __len__(self) -> int:
        return len(self._streams)

    def is_connected(self, peer: PeerID) -> bool:
        """Whether a peer's stream is open."""
        return peer in self._streams

    @asynccontextmanager
    async def connected(self, account: AccountID, peer: PeerID, address: str = "") -> AsyncIterator[Stream]:
        """A peer's stream, from that address; an older one of the same peer ends."""
        old = self._streams.get(peer)
        if old is not None:
            old.end(Ended.REPLACED)
            known = self._accounts.state(account).peers.get(peer)
            self._rivals.replaced(peer, known.name if known is not None else peer, old.address, address)
        stream = self._streams[peer] = Stream(self, account, peer, address)
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

    async def run(self) -> None:
        """Renew credentials before they expire."""
        renew_at = self._monotonic() + self._renew_every
        while True:
            await anyio.sleep(max(0.0, renew_at - self._monotonic()))
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
        told = concerned & self._streams.keys()
        urgency = self._arrivals.urgency(account, urgency_of(change, before, after, len(told)))
        for peer in told:
            self._streams[peer].notify(urgency)
