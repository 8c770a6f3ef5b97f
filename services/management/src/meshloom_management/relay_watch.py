"""Watches the relays that peers are told of: one that is down or drains is not told of until it is back.

Management is a peer of each of them, with a token like any other's: so it notices not only that a relay is gone, but
also that it refuses the tokens, and a relay that is about to stop says so. It first shows a token that names it: so it
learns which relays know such tokens. NetBird's do not.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio

from meshloom.errors import TransportError
from meshloom.log import RELAY
from meshloom.model.keys import PrivateKey
from meshloom.protocol.relay import RelayPeerID, relay_peer_id
from meshloom.protocol.relay_client import DRAINS, Authenticated, RelayClient, RelayLost
from meshloom.transport import Connection, Receiver, RelayAddress, Transport

_log = logging.getLogger(__name__)

CONNECT_WITHIN = 10.0
"""Seconds for a relay to answer by one transport."""


class RelayWatch:
    """The relays, and which of them are down.

    Run :meth:`run` in a task group.

    Args:
        urls: Of the relays to watch.
        transports: By any of which a relay may be reached, in the order to try them.
        tokens: Makes tokens to show under an id: one that names it, and one that does not.
        changed: Called with the relays that are down, and those that know tokens with a name, whenever these change.
        every: Seconds between attempts to reach one that is down.
        naming: Relays that are known from the start to know tokens with a name.
        monotonic: Seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        transports: Sequence[Transport],
        tokens: Callable[[RelayPeerID], tuple[bytes, bytes]],
        changed: Callable[[frozenset[str], frozenset[str]], None],
        *,
        every: float,
        naming: frozenset[str] = frozenset(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transports, self._tokens, self._changed, self._every = transports, tokens, changed, every
        self._monotonic = monotonic
        self._id = relay_peer_id(PrivateKey.of(os.urandom(32)).public)
        self._problems: dict[str, str] = dict.fromkeys(urls, "")
        self._naming = naming

    @property
    def problems(self) -> Mapping[str, str]:
        """Why each relay is not told of; empty where it is."""
        return self._problems

    async def run(self) -> None:
        """Watch until cancelled."""
        async with anyio.create_task_group() as tasks:
            for url in self._problems:
                tasks.start_soon(self._watch, url, name=f"watch {url}")

    async def _watch(self, url: str) -> None:
        while True:
            begun = self._monotonic()
            reason, was_well = await self._session(url)
            if was_well and reason != DRAINS and self._monotonic() - begun >= self._every:
                continue  # a connection may break; whether the relay is there shows the next
            self._set(url, reason)
            await anyio.sleep(self._every)

    async def _session(self, url: str) -> tuple[str, bool]:
        """Be a peer of the relay for as long as it lasts; why it ended, and whether the relay had accepted us."""
        reason = "no transport is installed"
        for transport in self._transports:
            for token, has_name in zip(self._tokens(self._id), (True, False), strict=True):
                visitor = _Visitor(RelayClient(self._id, token, self._monotonic()), self._monotonic)
                try:
                    with anyio.fail_after(CONNECT_WITHIN):
                        connection = await transport.connect(RelayAddress.parse(url), visitor)
                except TransportError as error:
                    reason = str(error)
                    break
                except TimeoutError:
                    reason = f"{url} does not answer in {CONNECT_WITHIN:.0f} seconds"
                    break
                try:
                    reason, was_well = await visitor.visit(connection, partial(self._accepted, url, has_name=has_name))
                finally:
                    connection.close()
                if was_well or not has_name:
                    return reason, was_well
        return reason, False

    def _accepted(self, url: str, *, has_name: bool) -> None:
        before, self._naming = self._naming, self._naming | {url} if has_name else self._naming - {url}
        self._set(url, "", is_news=self._naming != before)

    def _set(self, url: str, problem: str, *, is_news: bool = False) -> None:
        before, self._problems[url] = self._problems[url], problem
        if bool(before) == bool(problem) and not is_news:
            return
        if problem:
            _log.warning("peers are not told of a relay that does not work: %s", problem, extra={RELAY: url})
        elif before:
            _log.info("a relay is back: %s", url, extra={RELAY: url})
        self._changed(frozenset(url for url, problem in self._problems.items() if problem), self._naming)


class _Visitor(Receiver):
    """Management's connection to a relay."""

    def __init__(self, client: RelayClient, monotonic: Callable[[], float]) -> None:
        self._client, self._monotonic = client, monotonic
        self._news = anyio.Event()

    def message_received(self, message: memoryview) -> None:
        self._client.receive_message(message, self._monotonic())
        self._news.set()

    def connection_lost(self, reason: str) -> None:
        self._client.connection_lost(reason, self._monotonic())
        self._news.set()

    async def visit(self, connection: Connection, accepted: Callable[[], None]) -> tuple[str, bool]:
        """Until it is over: why, and whether the relay had accepted us."""
        client, is_well = self._client, False
        while True:
            for message in client.messages_to_send():
                connection.send(message)
            for event in client.events():
                if isinstance(event, Authenticated):
                    is_well = True
                    accepted()
                elif isinstance(event, RelayLost):
                    return event.reason, is_well
            self._news = anyio.Event()
            deadline = client.deadline()
            with anyio.move_on_after(max(0.0, (deadline or self._monotonic()) - self._monotonic())):
                await self._news.wait()
            client.handle_timer(self._monotonic())
