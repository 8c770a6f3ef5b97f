"""Which relays to be connected to, and for whom: one home, and those where peers are at home; pure."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from meshloom.model.keys import PublicKey
from meshloom_agent.mesh.mesh import Mesh
from meshloom_agent.mesh.relay import HomeRelay, OwnRelays, RelayUse, place_of
from meshloom_agent.mesh.status import LEFT


@attrs.frozen
class RelayTimers:
    """Durations in seconds.

    Args:
        stagger: Until the next relay of the list is tried beside those before it.
        keep: How long a foreign relay that nobody needs stays connected, or tried: so peers that name now one and
            now another one of them do not make us connect again and again.
    """

    stagger: float = 0.3
    keep: float = 60.0


@attrs.define
class _Link:
    """One relay that we are, or want to be, connected to."""

    home: HomeRelay | None = None  # as it calls itself, while we are connected
    is_foreign: bool = False  # a peer's path has needed it
    online: set[PublicKey] = attrs.field(factory=set)
    unused_since: float | None = None


@attrs.frozen
class PathNews:
    """A peer's relayed path opened, or was lost for that reason."""

    peer: PublicKey
    lost: str | None = None


class RelayPlan:
    """After each call look at ``links``, ``subscriptions()`` and ``home``, drain ``news()``, wake it at ``deadline()``.

    A driver keeps a connection to each URL in ``links``, tries again where it fails, and tells what becomes of it.
    """

    def __init__(self, timers: RelayTimers | None = None) -> None:
        self.timers = timers or RelayTimers()
        self.links: tuple[str, ...] = ()
        """URLs to be connected to; never others than management or the user names."""
        self._links: dict[str, _Link] = {}
        self.changed = False
        """Whether anything happened since this was last set to False."""
        self._servers: list[str] = []
        self._named: dict[str, str] = {}
        self._tried = 0
        self._next_try: float | None = None
        self._home_link: str | None = None
        self._wanted: dict[PublicKey, RelayUse] = {}
        self._open: dict[PublicKey, str] = {}
        self._news: list[PathNews] = []

    # -- what happens ------------------------------------------------------------------------------------------

    def set_servers(self, urls: Sequence[str], now: float, further: Iterable[str] = ()) -> None:
        """Relays that may be our home, best first. A home that is not listed any more is left when another is there.

        Args:
            urls: They.
            now: Seconds.
            further: Relays at which peers may be at home, though we are not.
        """
        named = {place_of(url): url for url in (*further, *urls)}
        if list(urls) == self._servers and named == self._named:
            return
        self._servers, self._named = list(urls), named
        if not urls:
            self._home_link = None
        if self.home is None or self._home_link not in urls:
            self._begin_trying(now)
        self._settle(now)

    def set_wanted(self, wanted: Mapping[PublicKey, RelayUse], now: float) -> None:
        """The relayed paths that shall be open."""
        for peer, use in list(self._wanted.items()):
            if wanted.get(peer) != use:
                self._open.pop(peer, None)
        self._wanted = dict(wanted)
        self._settle(now)

    def link_up(self, url: str, home: HomeRelay, now: float) -> None:
        """Connected; *home* is how the relay calls itself, and where it is."""
        link = self._links.get(url)
        if link is None:
            return
        link.home = home
        self._settle(now)

    def link_down(self, url: str, reason: str, now: float) -> None:
        """Not connected (any more)."""
        link = self._links.get(url)
        if link is None:
            return
        was_up, link.home = link.home is not None, None
        link.online.clear()
        self._lose([peer for peer, through in self._open.items() if through == url], reason)
        if url == self._home_link and was_up:
            self._begin_trying(now)
        self._settle(now)

    def peer_online(self, url: str, peer: PublicKey, now: float) -> None:
        """The relay reaches a peer that we asked for."""
        if (link := self._links.get(url)) is not None:
            link.online.add(peer)
            self._settle(now)

    def peer_offline(self, url: str, peer: PublicKey, now: float) -> None:
        """It does not any more."""
        if (link := self._links.get(url)) is not None:
            link.online.discard(peer)
            if self._open.get(peer) == url:
                self._lose([peer], LEFT)
            self._settle(now)

    def handle_timer(self, now: float) -> None:
        """Try the next relay, leave one that nobody needs."""
        if self._next_try is not None and now >= self._next_try:
            self._tried += 1
            self._next_try = now + self.timers.stagger if self._tried < len(self._servers) else None
        self._settle(now)

    def deadline(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        leave = [link.unused_since + self.timers.keep for link in self._links.values() if link.unused_since is not None]
        times = leave if self._next_try is None else [*leave, self._next_try]
        return min(times, default=None)

    # -- what is to be done ------------------------------------------------------------------------------------

    @property
    def home(self) -> HomeRelay | None:
        """The relay that others reach us by, while we are connected to it."""
        link = self._links.get(self._home_link) if self._home_link is not None else None
        return link.home if link is not None else None

    @property
    def own(self) -> OwnRelays:
        """The home, and all relays that we may be connected to."""
        return OwnRelays(self.home, frozenset(self._named))

    @property
    def home_url(self) -> str | None:
        """The URL under which the home is connected to."""
        return self._home_link if self.home is not None else None

    def link_of(self, peer: PublicKey) -> str | None:
        """The link that a peer's packets go by while its path is open."""
        return self._open.get(peer)

    def subscriptions(self) -> dict[str, set[PublicKey]]:
        """Peers to ask each link for."""
        asked: dict[str, set[PublicKey]] = {url: set() for url in self._links}
        for peer, use in self._wanted.items():
            if (url := self._link_for(use)) is not None and url in asked:
                asked[url].add(peer)
        return asked

    def news(self) -> list[PathNews]:
        """What became of paths."""
        news, self._news = self._news, []
        return news

    # -- inside ------------------------------------------------------------------------------------------------

    def _begin_trying(self, now: float) -> None:
        """Look for a home, the last one's own URL included."""
        self._tried = min(1, len(self._servers))
        self._next_try = now + self.timers.stagger if len(self._servers) > 1 else None

    def _link_for(self, use: RelayUse) -> str | None:
        home = self.home
        return self._home_link if home is not None and home.url == use.url else self._named.get(place_of(use.url))

    def _settle(self, now: float) -> None:
        """Make links and open paths what they should be."""
        self.changed = True
        self._find_home()
        candidates = self._home_candidates()
        wanted = {url: None for use in self._wanted.values() if (url := self._link_for(use)) is not None}
        needed = wanted | dict.fromkeys(candidates)
        for url in needed:
            link = self._links.setdefault(url, _Link())
            link.is_foreign |= url in wanted and url not in candidates
            link.unused_since = None
        for url, link in list(self._links.items()):
            if url in needed:
                continue
            if link.unused_since is None:
                link.unused_since = now
            is_loser = not link.is_foreign and (link.home is None or url in self._servers)
            if is_loser or now >= link.unused_since + self.timers.keep:
                del self._links[url]
        self.links = tuple(self._links)
        for peer, use in self._wanted.items():
            url = self._link_for(use)
            found = self._links.get(url) if url is not None else None
            if url is not None and found is not None and peer in found.online and self._open.get(peer) != url:
                self._open[peer] = url
                self._news.append(PathNews(peer))

    def _find_home(self) -> None:
        """Be at home at the best relay of the list that is connected to, unless we are at home at one."""
        if self.home is not None and self._home_link in self._servers:
            return
        up = [url for url in self._servers if url in self._links and self._links[url].home is not None]
        if up:
            self._home_link, self._next_try = up[0], None

    def _home_candidates(self) -> list[str]:
        if self.home is not None and self._home_link in self._servers and self._home_link is not None:
            return [self._home_link]
        tried = self._servers[: self._tried]
        keep = [self._home_link] if self._home_link is not None and self._home_link not in tried else []
        return [*keep, *tried]

    def _lose(self, peers: Sequence[PublicKey], reason: str) -> None:
        for peer in peers:
            del self._open[peer]
            self._news.append(PathNews(peer, reason))


def exchange(mesh: Mesh, plan: RelayPlan, now: float) -> bool:
    """After every call of either: each hears what the other wants and has. Whether anything was to be heard."""
    if not (mesh.relays_changed or plan.changed):
        return False
    while True:
        if mesh.relays_changed:
            mesh.relays_changed = False
            plan.set_wanted(mesh.relays, now)
        mesh.set_relays(plan.own, now)
        news = plan.news()
        for each in news:
            if each.lost is None:
                mesh.relay_opened(each.peer, now)
            else:
                mesh.relay_lost(each.peer, each.lost, now)
        if not news and not mesh.relays_changed:
            plan.changed = False
            return True
