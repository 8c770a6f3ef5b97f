"""TLS for the shared port: handshakes that are bounded in number and time, like everything that strangers can begin.

asyncio's own servers tell nobody of a connection before its handshake is over.
"""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakSet

import anyio
from anyio.abc import TaskGroup

from meshloom_front.callers import NETWORK_SHARE, Callers
from meshloom_front.costs import HANDSHAKE
from meshloom_front.crowd import Crowd, network_of

_log = logging.getLogger(__name__)

BACKLOG = 4096
FIRST_BYTES_WITHIN = 10.0
"""Seconds in which a connection must have said what it is; with TLS, also those of the handshake before."""
ACCEPT_AGAIN = 0.1
"""Seconds of rest where the system gives no further connection: too many files are open."""


class Handshakes:
    """Accepts connections and agrees on TLS with each.

    Args:
        protocol: Makes the protocol of a connection that is agreed on.
        most: Handshakes at once; the oldest gives way to a new one.
        make_room: Whether there may be one more connection from an address.
        callers: Have an allowance for each network.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        most: int,
        make_room: Callable[[str], bool],
        callers: Callers,
    ) -> None:
        self._protocol, self._tls, self._most, self._make_room = protocol, tls, most, make_room
        self._callers = callers
        self._begun: Crowd[socket.socket] = Crowd()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._accepting = anyio.CancelScope()

    def __len__(self) -> int:
        return len(self._begun)

    @asynccontextmanager
    async def accepting(self, listening: socket.socket) -> AsyncIterator[None]:
        """Accept until leaving; that ends the connections that are still open."""
        listening.listen(BACKLOG)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._accept, listening, tasks)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                for each in list(self._sockets):
                    _end(each)

    def stop(self) -> None:
        """Accept no more."""
        self._accepting.cancel()

    async def _accept(self, listening: socket.socket, tasks: TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        with self._accepting, listening:
            while True:
                try:
                    accepted, address = await loop.sock_accept(listening)
                except OSError as error:
                    _log.warning("no connection can be accepted now: %s", error)
                    await anyio.sleep(ACCEPT_AGAIN)
                    continue
                if not self._make_room(address[0]):
                    accepted.close()
                    continue
                network = network_of(address[0])
                if (leaving := self._begun.giving_way(network, len(self._begun), self._most)) is not None:
                    self._begun.discard(leaving)
                    _end(leaving)
                self._begun.add(accepted, network)
                self._sockets.add(accepted)
                tasks.start_soon(self._agree, accepted, network)

    async def _agree(self, accepted: socket.socket, network: str) -> None:
        try:
            while rest := self._callers.begin(network, HANDSHAKE):
                after = rest + self._begun.count(network) * HANDSHAKE / NETWORK_SHARE * random.random()  # noqa: S311
                await anyio.sleep(after)  # not all at once: one after the other may begin then
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, accepted, ssl=self._tls, ssl_handshake_timeout=FIRST_BYTES_WITHIN
            )
        except OSError as error:  # also ssl.SSLError
            _log.debug("a TLS handshake failed: %s", error)
            accepted.close()
        except BaseException:
            accepted.close()
            raise
        finally:
            self._begun.discard(accepted)


def _end(connection: socket.socket) -> None:
    """Whoever reads from it is told that it is over."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
