"""The connections that a relay plan asks for, kept over whatever transport gets through."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import anyio
import attrs
from anyio.abc import TaskGroup

from meshloom.errors import ProtocolError, TransportError
from meshloom.model.keys import PublicKey
from meshloom.protocol.relay import RelayPeerID, relay_peer_id
from meshloom.transport import RelayAddress, Transport
from meshloom_agent.backoff import Backoff
from meshloom_agent.mesh import RelayPlan
from meshloom_agent.outage import Outage
from meshloom_agent.relays.session import Packets, Session
from meshloom_agent.relays.tokens import RelayTokens
from meshloom_agent.shown import shown_transport

_log = logging.getLogger(__name__)

CONNECT_WITHIN = 30.0
FIRST_RETRY, LONGEST_RETRY = 0.2, 30.0
STANDS = 60.0
"""Seconds after which a connection counts as one that worked: when it ends then, the next try comes soon."""
STAGGER = 0.3
"""Seconds until the next transport of the list is tried beside those before it."""
SILENT, SILENT_ROUNDS = 1.0, 4
"""Seconds in which a relay that is suspected to be out of reach answers a question, and what a slow line adds to them.

The line's pace is what the answer to our token took. Of four of these times one is the answer's own, and TCP needs up
to three to say again what was lost.
"""
MEASURED_WITHIN, MEASURED_ROUNDS = 3.0, 12
"""Seconds in which a transport has found out how long a message its path carries, and what a slow line adds to them:
each of its few sizes is tried three times."""
AVOID_FIRST, AVOID_LONGEST = 600.0, 3600.0
"""Seconds for which a transport is not used that a packet was too long for; doubled each time."""


def answer_within(took: float) -> float:
    """Returns the seconds in which a relay answers whose answer to our token took so long."""
    return SILENT + SILENT_ROUNDS * took


def measured_within(took: float) -> float:
    """Returns the seconds in which the path to such a relay is measured."""
    return MEASURED_WITHIN + MEASURED_ROUNDS * took


@attrs.frozen
class NamedTransport:
    """An opened transport under its backend's name.

    Args:
        by_name: Whether a proxy finds the relay's address.
    """

    name: str
    transport: Transport
    by_name: bool = False


@attrs.define
class _Avoided:
    until: float = 0.0
    wait: float = AVOID_FIRST


class RelayLink:
    """One relay, connected to until cancelled; run :meth:`run`."""

    def __init__(self, links: "RelayLinks", url: str) -> None:
        self.url = url
        self.session: Session | None = None
        self.error = ""
        self._links = links
        self._outage = Outage(f"relay {url}", _log)
        self._avoided: dict[str, _Avoided] = {}
        self._again, self._is_to_renew = anyio.Event(), False
        self._is_suspected = self._is_measuring = self._is_authenticating = False

    async def run(self) -> None:
        """Connect, and again when the connection is lost."""
        backoff = Backoff(first=FIRST_RETRY, longest=LONGEST_RETRY)
        async with anyio.create_task_group() as tasks:
            try:
                while True:
                    self._is_to_renew = False
                    try:
                        with anyio.fail_after(CONNECT_WITHIN):
                            tasks.start_soon(self._watch, await self._replace())
                        began = anyio.current_time()
                        while self.session is not None and not self._is_to_renew:
                            await self._news()
                        if anyio.current_time() - began >= STANDS:
                            backoff.reset()  # an end right after success is no success
                        if self.session is not None:
                            continue  # what stands is to be replaced
                    except TimeoutError:
                        self._failed("it does not answer")
                    except (TransportError, ProtocolError) as error:
                        self._failed(str(error))
                    with anyio.move_on_after(backoff.next()):
                        while not self._is_to_renew:
                            await self._news()
            finally:
                if self.session is not None:
                    self.session.end()

    def renew(self) -> None:
        """The network has changed: connect anew; what stands is kept until the new connection does."""
        self._is_to_renew = True
        self._again.set()

    async def prove(self) -> None:
        """Asks the relay for ourselves, since a direct path was lost and the way to it may be, too.

        Others use the connection as well: only where no answer comes is it replaced.
        """
        session = self.session
        if session is None or self._is_suspected:
            return
        self._is_suspected, heard = True, session.received
        session.ask([self._links.id])
        await anyio.sleep(answer_within(session.took))
        session.forget([self._links.id])
        self._is_suspected = False
        if session is self.session and session.received == heard:
            self.renew()

    def too_long(self, size: int, tasks: TaskGroup) -> None:
        """A message was too long for the transport in use: use others for a while, if there are any.

        A transport that has just begun to look how much its path carries gets the time to find out.
        """
        session = self.session
        if session is not None and not self._is_measuring and len(self._links.transports) > 1:
            self._is_measuring = True
            tasks.start_soon(self._measure, session, size)

    # -- inside ------------------------------------------------------------------------------------------------

    async def _measure(self, session: Session, size: int) -> None:
        with anyio.move_on_after(measured_within(session.took)):
            await session.over.wait()
        self._is_measuring = False
        connection = session.connection
        if session.lost or session is not self.session or connection is None or size <= connection.max_message_size:
            return
        avoided = self._avoided.setdefault(connection.transport, _Avoided())
        if avoided.until > anyio.current_time():
            return  # there is nothing but what is avoided
        avoided.until = anyio.current_time() + avoided.wait
        avoided.wait = min(2 * avoided.wait, AVOID_LONGEST)
        _log.info("relay %s: packets of %d bytes are too long for %s", self.url, size, connection.transport)
        self.renew()

    async def _news(self) -> None:
        self._again = anyio.Event()
        await self._again.wait()

    async def _replace(self) -> Session:
        """A new session in place of the old one."""
        standing = self.session
        try:
            session = await self._first_of(RelayAddress.parse(self.url))
            try:
                await session.run(until_accepted=True)
            except BaseException:
                session.end()
                raise
        finally:
            self._is_authenticating = False
            if standing is not None:
                standing.give_way(gives_way=False)
        if session.home is None:
            raise TransportError(f"the relay {self.url} refuses: {session.lost}")
        old, self.session, self.error = self.session, session, ""
        transport = session.connection.transport if session.connection is not None else ""
        self._outage.back(anyio.current_time(), f"by {shown_transport(transport)}")
        self._links.came_up(self.url, session)
        if old is not None:
            old.end()
        return session

    async def _watch(self, session: Session) -> None:
        """Until the session is over, be it that another has replaced it."""
        await session.run()
        if session is self.session and not self._is_authenticating:  # else the relay sees the new one first
            self._failed(session.lost)
            self._again.set()

    def _failed(self, reason: str) -> None:
        if self.session is not None and not self.session.lost:
            return  # only the attempt to replace it has failed
        self.error = reason
        self._outage.failed(reason, anyio.current_time())
        self.session = None
        self._links.went_down(self.url, reason)

    async def _first_of(self, address: RelayAddress) -> Session:
        """The first transport that connects, each with a start over the next; the others are given up."""
        if (locate := self._links.locate) is not None:
            address = await locate(address)
        now = anyio.current_time()
        usable = [
            each
            for each in self._links.transports
            if each.name not in self._avoided or self._avoided[each.name].until <= now
        ]
        won: list[Session] = []
        errors: list[str] = []

        failed = anyio.Event()

        async def attempt(each: NamedTransport, tasks: TaskGroup) -> None:
            session = self._links.new_session(self.url)
            try:
                connection = await each.transport.connect(address, session)
            except TransportError as error:
                errors.append(f"{shown_transport(each.name)}: {error}")
                failed.set()
                return
            if won:
                connection.close()
                return
            won.append(session)
            self._is_authenticating = True
            if self.session is not None:
                self.session.give_way(gives_way=True)  # a relay that asks it keeps it, and refuses the new one
            session.begin(connection, self._links.id, self._links.tokens().shown_at(self.url))
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for each in usable or self._links.transports:
                tasks.start_soon(attempt, each, tasks)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
        if not won:
            raise TransportError("; ".join(errors) or "there is no transport")
        return won[0]


class RelayLinks:
    """All of them. Run :meth:`run`; call :meth:`settle` after every change of the plan.

    Args:
        tokens: Returns what the relays accept now.
        packets: Gets every packet of a peer.
        changed: Called after the plan was told something.
        locate: Finds what to connect to, before each connection; raises TransportError where that must not be.
    """

    def __init__(
        self,
        plan: RelayPlan,
        own: PublicKey,
        transports: Sequence[NamedTransport],
        *,
        tokens: Callable[[], RelayTokens],
        packets: Packets,
        changed: Callable[[], None],
        locate: Callable[[RelayAddress], Awaitable[RelayAddress]] | None = None,
    ) -> None:
        self.locate = locate
        self.transports, self.tokens = tuple(transports), tokens
        self.id = relay_peer_id(own)
        self._plan, self._packets, self._changed = plan, packets, changed
        self._links: dict[str, tuple[RelayLink, anyio.CancelScope]] = {}
        self._asked: dict[str, set[RelayPeerID]] = {}
        self._keys: dict[RelayPeerID, PublicKey] = {}
        self._ids: dict[PublicKey, RelayPeerID] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Keep them until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            self.settle()
            await anyio.sleep_forever()

    def id_of(self, peer: PublicKey) -> RelayPeerID:
        """How relays call a peer."""
        id = self._ids.get(peer)
        if id is None:
            id = self._ids[peer] = relay_peer_id(peer)
            self._keys[id] = peer
        return id

    def key_of(self, id: RelayPeerID) -> PublicKey | None:
        """The peer that relays call so, unless it was forgotten."""
        return self._keys.get(id)

    def forget(self, peers: set[PublicKey]) -> None:
        """These are no longer in the map."""
        for peer in peers:
            if (id := self._ids.pop(peer, None)) is not None:
                del self._keys[id]

    def settle(self) -> None:
        """Have the connections and watch the peers that the plan asks for."""
        if self._tasks is None:
            return
        for url in self._links.keys() - set(self._plan.links):
            _, scope = self._links.pop(url)
            self._asked.pop(url, None)
            scope.cancel()
        for url in self._plan.links:
            if url not in self._links:
                link, scope = RelayLink(self, url), anyio.CancelScope()
                self._links[url] = link, scope
                self._tasks.start_soon(self._run_link, link, scope)
        for url, peers in self._plan.subscriptions().items():
            self._ask(url, {self.id_of(peer) for peer in peers})

    def renew(self) -> None:
        """The network has changed."""
        for link, _ in self._links.values():
            link.renew()

    def tokens_changed(self) -> None:
        """Shows new tokens to relays that are not connected to, and to those that go on for longer with them."""
        tokens = self.tokens()
        for link, _ in self._links.values():
            if link.session is None:
                link.renew()
            elif tokens.renews(link.url):
                link.session.show(tokens.shown_at(link.url))

    def session(self, url: str | None) -> Session | None:
        """The session on a relay, while there is one."""
        found = self._links.get(url) if url is not None else None
        return found[0].session if found is not None else None

    def suspect(self, url: str) -> None:
        """A direct path was lost: is that relay still within reach?"""
        found = self._links.get(url)
        if found is not None and self._tasks is not None:
            self._tasks.start_soon(found[0].prove)

    def too_long(self, url: str, size: int) -> None:
        """A message was too long for the transport that reaches that relay."""
        found = self._links.get(url)
        if found is not None and self._tasks is not None:
            found[0].too_long(size, self._tasks)

    @property
    def errors(self) -> Mapping[str, str]:
        """Why relays are not connected to; empty for those that are."""
        return {url: link.error for url, (link, _) in self._links.items()}

    # -- what the links call -----------------------------------------------------------------------------------

    def new_session(self, url: str) -> Session:
        """A session that tells us what becomes of peers."""
        return Session(self._packets, partial(self._peer_changed, url))

    def came_up(self, url: str, session: Session) -> None:
        """A relay has accepted us."""
        if session.home is not None:
            self._asked.pop(url, None)
            self._plan.link_up(url, session.home, anyio.current_time())
            self._changed()

    def went_down(self, url: str, reason: str) -> None:
        """A relay is not connected to."""
        self._plan.link_down(url, f"{url}: {reason}", anyio.current_time())
        self._changed()

    # -- inside ------------------------------------------------------------------------------------------------

    async def _run_link(self, link: RelayLink, scope: anyio.CancelScope) -> None:
        with scope:
            await link.run()

    def _peer_changed(self, url: str, peer: RelayPeerID, online: bool) -> None:
        key = self._keys.get(peer)
        if not online:
            self._asked.get(url, set()).discard(peer)
        if key is not None:
            (self._plan.peer_online if online else self._plan.peer_offline)(url, key, anyio.current_time())
            self._changed()

    def _ask(self, url: str, wanted: set[RelayPeerID]) -> None:
        session = self.session(url)
        if session is None:
            return
        asked = self._asked.setdefault(url, set())
        if gone := asked - wanted:
            asked -= gone
            session.forget(gone)
        if new := wanted - asked:
            asked |= new
            session.ask(new)
