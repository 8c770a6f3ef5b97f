"""Which relayed addresses we have: one on each server, for peers that no relay of the mesh reaches."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from meshloom.errors import words_of
from meshloom.protocol.stun import Address
from meshloom_agent.backoff import Backoff
from meshloom_agent.outage import Outage
from meshloom_agent.turn.server import TurnServer

if TYPE_CHECKING:
    from meshloom_agent.turn.allocation import Allocation

_log = logging.getLogger(__name__)

Locate = Callable[[str, str, int], Awaitable[list[str]]]
ALLOCATE_WITHIN = 40.0
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0


class TurnClient:
    """Has an allocation on each server while there is need of them. Run :meth:`run`.

    Args:
        received: Gets each packet, where it came from, and our relayed address that it came to.
        changed: Called when ``allocations`` has changed.
        extra_roots: Certificates trusted besides the system's, for TLS.
        locate: Finds the addresses of a server by its host and port.
    """

    def __init__(
        self,
        received: Callable[[bytes, Address, Address], None],
        changed: Callable[[], None],
        extra_roots: bytes = b"",
        locate: Locate | None = None,
    ) -> None:
        self.errors: dict[str, str] = {}
        """Servers by URI, and why we have no address there; empty where we have."""
        self._received, self._changed, self._roots = received, changed, extra_roots
        self._locate = locate
        self._servers: dict[str, TurnServer] = {}
        self._needed = False
        self._allocations: dict[Address, Allocation] = {}
        self._kept: dict[str, anyio.CancelScope] = {}
        self._tasks: TaskGroup | None = None

    @property
    def allocations(self) -> dict[Address, Address]:
        """Our relayed addresses, each with the address of ours that its server sees."""
        return {address: each.seen for address, each in self._allocations.items()}

    async def run(self) -> None:
        """Keep them until cancelled; the servers are told of the end."""
        async with anyio.create_task_group() as self._tasks:
            self._settle()
            await anyio.sleep_forever()

    def set_servers(self, servers: Sequence[TurnServer]) -> None:
        """What management says. An address that we have stays: new credentials are for the next one."""
        self._servers = {server.uri: server for server in servers}
        self._settle()

    def need(self, needed: bool) -> None:
        """Whether there are peers that no relay reaches."""
        if needed is not self._needed:
            self._needed = needed
            self._settle()

    def renew(self) -> None:
        """The network is another one: what we have is of no use, and other addresses are asked for at once."""
        for allocation in self._allocations.values():
            allocation.give_up("the network has changed", at_once=True)

    def send(self, data: bytes | memoryview, remote: Address, via: Address) -> None:
        """One packet through our relayed address *via*; lost where we no longer have it."""
        allocation = self._allocations.get(via)
        if allocation is not None:
            allocation.send(data, remote)

    def _settle(self) -> None:
        wanted = self._servers if self._needed else {}
        for gone in self._kept.keys() - wanted.keys():
            self._kept.pop(gone).cancel()
            self.errors.pop(gone, None)
        for uri in wanted:
            if uri not in self._kept and self._tasks is not None:
                scope = self._kept[uri] = anyio.CancelScope()
                self._tasks.start_soon(self._keep, uri, scope)

    async def _keep(self, uri: str, scope: anyio.CancelScope) -> None:
        backoff, outage = Backoff(first=FIRST_RETRY, longest=LONGEST_RETRY), Outage(f"TURN server {uri}", _log)
        with scope:
            while True:
                at_once = False
                try:
                    at_once = await self._allocate(self._servers[uri], backoff, outage)
                except (OSError, TimeoutError, EOFError) as error:
                    self.errors[uri] = words_of(error)
                outage.failed(self.errors[uri], anyio.current_time())
                self._changed()
                if not at_once:
                    await anyio.sleep(backoff.next())

    async def _allocate(self, server: TurnServer, backoff: Backoff, outage: Outage) -> bool:
        """An allocation from making it to its end; whether the next is to be asked for at once."""
        # Only now: most agents never need the library behind it, which is 3 MB and takes 30 ms to import.
        from meshloom_agent.turn.allocation import open_allocation, tls_context

        with anyio.fail_after(ALLOCATE_WITHIN):
            tls = tls_context(self._roots) if server.tls else None
            allocation = await open_allocation(server, tls, self._received, locate=self._locate)
        try:
            backoff.reset()
            self._allocations[allocation.address] = allocation
            self.errors[server.uri] = ""
            outage.back(anyio.current_time())
            self.errors[server.uri] = await allocation.keep(self._changed)
            return allocation.at_once
        finally:
            self._allocations.pop(allocation.address, None)
            self._changed()
            await allocation.close()
