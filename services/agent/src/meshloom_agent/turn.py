"""Relayed addresses of our own on TURN servers (RFC 8656), for peers that no relay of the mesh reaches."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import attrs
from aioice.stun import TransactionError
from aioice.turn import TurnTransport, create_turn_endpoint
from anyio.abc import TaskGroup

from meshloom.protocol.stun import Address
from meshloom_agent.backoff import Backoff

_log = logging.getLogger(__name__)

ALLOCATE_WITHIN = 20.0
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0


@attrs.frozen
class TurnServer:
    """One server, and what it knows us by.

    Args:
        transport: ``udp`` or ``tcp``, from here to the server.
        tls: Over TLS; only with ``tcp``.
    """

    host: str
    port: int
    transport: str = "udp"
    tls: bool = False
    user: str = ""
    password: str = attrs.field(default="", repr=False)

    @property
    def uri(self) -> str:
        """As RFC 7065 writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'turns' if self.tls else 'turn'}:{host}:{self.port}?transport={self.transport}"


class Allocation(asyncio.DatagramProtocol):
    """One relayed address; packets come and go through it."""

    def __init__(self, received: Callable[[bytes, Address, Address], None]) -> None:
        self.address: Address = ("", 0)
        self.seen: Address = ("", 0)
        self.lost = anyio.Event()
        self._received = received
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server has made it."""
        self._transport = transport
        self.address = transport.get_extra_info("sockname")
        self.seen = transport.get_extra_info("related_address")

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """From a peer."""
        self._received(data, (str(addr[0]), addr[1]), self.address)

    def error_received(self, exc: Exception) -> None:
        """What was sent is lost, as datagrams may be."""
        _log.debug("a packet did not get through the TURN server: %s", exc)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The server has forgotten it, or is away."""
        self.lost.set()

    def send(self, data: bytes, remote: Address) -> None:
        """To a peer."""
        if self._transport is not None and not self.lost.is_set():
            self._transport.sendto(data, remote)


class TurnClient:
    """Has an allocation on each server while there is need of them. Run :meth:`run`.

    Args:
        received: Gets each packet, where it came from, and our relayed address that it came to.
        changed: Called when ``allocations`` has changed.
    """

    def __init__(
        self,
        received: Callable[[bytes, Address, Address], None],
        changed: Callable[[], None],
        extra_roots: bytes = b"",
    ) -> None:
        self.errors: dict[str, str] = {}
        """Servers by URI, and why we have no address there; empty where we have."""
        self._received, self._changed, self._roots = received, changed, extra_roots
        self._servers: tuple[TurnServer, ...] = ()
        self._needed = False
        self._allocations: dict[Address, Allocation] = {}
        self._kept: dict[TurnServer, anyio.CancelScope] = {}
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
        """What management says."""
        self._servers = tuple(servers)
        self._settle()

    def need(self, needed: bool) -> None:
        """Whether there are peers that no relay reaches."""
        if needed is not self._needed:
            self._needed = needed
            self._settle()

    def send(self, data: bytes, remote: Address, via: Address) -> None:
        """One packet through our relayed address *via*; lost where we no longer have it."""
        allocation = self._allocations.get(via)
        if allocation is not None:
            allocation.send(data, remote)

    def _settle(self) -> None:
        wanted = self._servers if self._needed else ()
        for gone in self._kept.keys() - set(wanted):
            self._kept.pop(gone).cancel()
            self.errors.pop(gone.uri, None)
        for server in wanted:
            if server not in self._kept and self._tasks is not None:
                scope = self._kept[server] = anyio.CancelScope()
                self._tasks.start_soon(self._keep, server, scope)

    async def _keep(self, server: TurnServer, scope: anyio.CancelScope) -> None:
        backoff = Backoff(first=FIRST_RETRY, longest=LONGEST_RETRY)
        with scope:
            while True:
                try:
                    await self._allocate(server, backoff)
                    self.errors[server.uri] = "the allocation was lost"
                except (OSError, TimeoutError, TransactionError, EOFError) as error:
                    self.errors[server.uri] = str(error) or "no answer"
                _log.info("TURN server %s: %s", server.uri, self.errors[server.uri])
                self._changed()
                await anyio.sleep(backoff.next())

    async def _allocate(self, server: TurnServer, backoff: Backoff) -> None:
        """An allocation from making it to its end."""
        with anyio.fail_after(ALLOCATE_WITHIN):
            found = await anyio.getaddrinfo(server.host, server.port, type=2)
            transport, allocation = await create_turn_endpoint(
                lambda: Allocation(self._received),
                server_addr=(str(found[0][4][0]), server.port),
                username=server.user or None,
                password=server.password or None,
                ssl=self._tls() if server.tls else None,
                transport=server.transport,
            )
        backoff.reset()
        self._allocations[allocation.address] = allocation
        self.errors[server.uri] = ""
        _log.info("TURN server %s has given us an address", server.uri)
        self._changed()
        try:
            await allocation.lost.wait()
        finally:
            del self._allocations[allocation.address]
            self._changed()
            await self._end(transport, allocation)

    async def _end(self, transport: TurnTransport, allocation: Allocation) -> None:
        """Give the address back."""
        with anyio.move_on_after(1, shield=True):
            transport.close()
            await allocation.lost.wait()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._roots:
            context.load_verify_locations(cadata=self._roots.decode())
        return context
