"""Accepts connections: bounded in number and time, like everything that strangers can begin.

A server of asyncio's takes one connection in each iteration of the event loop. Here all that wait are taken at once,
which costs little, and each gets its turn.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio

from meshloom.errors import words_of
from meshloom_front.callers import Callers
from meshloom_front.costs import ACCEPTED, ACCEPTING
from meshloom_front.crowd import Crowd, network_of
from meshloom_front.turns import Network, Turn

_log = logging.getLogger(__name__)

BACKLOG = 4096
AT_ONCE = 100
"""Connections that are taken in one iteration of the event loop."""
ACCEPT_AGAIN = 0.1
"""Seconds of rest where the system gives no further connection: too many files are open."""


class Accepting:
    """Accepts connections and begins each.

    Args:
        protocol: Makes the protocol of a connection.
        most: Connections that may wait for their turn; the oldest of the network with the most gives way.
        make_room: Whether there may be one more connection from an address.
        callers: Have a turn each.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        most: int,
        make_room: Callable[[str], bool],
        callers: Callers,
    ) -> None:
        self._protocol, self._most, self._make_room = protocol, most, make_room
        self._turns = callers.turns
        self._begun: Crowd[socket.socket] = Crowd()
        self._networks: dict[socket.socket, Network] = {}
        self._waiting: dict[socket.socket, Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._begun)

    @asynccontextmanager
    async def accepting(self, listening: socket.socket) -> AsyncIterator[None]:
        """Accepts until leaving; that ends what is being begun."""
        listening.listen(BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._loop.add_reader(listening.fileno(), self._accept)
        try:
            yield
        finally:
            self.stop()
            for waiting in list(self._waiting):
                self._give_way(waiting)
            with anyio.CancelScope(shield=True):  # uvloop tells no protocol that was cut off in between that it is lost
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Accepts no more."""
        if self._again is not None:
            self._again.cancel()
        if self._listening is not None:
            self._loop.remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None

    def _accept(self) -> None:
        """Takes those that wait."""
        for _ in range(AT_ONCE):
            if self._listening is None:
                return
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("no connection can be accepted now: %s", words_of(error))
                self._loop.remove_reader(self._listening.fileno())
                self._again = self._loop.call_later(ACCEPT_AGAIN, self._go_on)
                return
            self._queue(accepted, address[0])

    def _go_on(self) -> None:
        if self._listening is not None:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _queue(self, accepted: socket.socket, address: str) -> None:
        """Gives a connection its turn, now or later."""
        if not self._make_room(address):
            accepted.close()
            return
        accepted.setblocking(False)
        name = network_of(address)
        if (leaving := self._begun.giving_way(name, len(self._begun), self._most)) is not None:
            self._give_way(leaving)
        network = self._turns.network(name)
        network.count(1)
        self._begun.add(accepted, name)
        self._networks[accepted] = network
        self._turns.spend(network, ACCEPTED)
        if self._turns.is_free(network):
            self._begin(accepted, network)
        else:
            self._waiting[accepted] = self._turns.wait(network, None, partial(self._begin, accepted, network))

    def _give_way(self, leaving: socket.socket) -> None:
        self._leave(leaving)
        if (turn := self._waiting.pop(leaving, None)) is not None:  # else it is being begun, and no longer counts
            turn.cancel()
            leaving.close()

    def _begin(self, accepted: socket.socket, network: Network) -> None:
        self._waiting.pop(accepted, None)
        self._turns.spend(network, ACCEPTING)
        task = self._loop.create_task(self._connect(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted)
        except OSError as error:
            _log.debug("a connection was gone before its turn: %s", words_of(error))
            accepted.close()
        except BaseException:
            accepted.close()
            raise
        finally:
            self._leave(accepted)

    def _leave(self, leaving: socket.socket) -> None:
        """Counts a connection here no longer: it is gone, or its protocol goes on."""
        self._begun.discard(leaving)
        if (network := self._networks.pop(leaving, None)) is not None:
            network.count(-1)
