"""One relayed address: aioice speaks with the server, here is what it lacks.

Packets go out without a task for each, channels are bound in time for the permissions behind them, a stream that does
not take more loses packets instead of keeping them, and a server that has forgotten the address is found out.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import attrs
from aioice.stun import Class, Message, Method, TransactionError
from aioice.turn import TurnClientProtocol, TurnClientTcpProtocol, TurnClientUdpProtocol
from anyio.abc import TaskGroup

from meshloom.errors import words_of
from meshloom.protocol.stun import Address
from meshloom_agent.turn.server import TurnServer

_log = logging.getLogger(__name__)

LIFETIME = 600
"""Seconds of an allocation that are asked for (RFC 8656 section 7.2); aioice renews it by what the server gives."""
MAX_WAITING = 16
"""Packets to one peer that wait for its channel."""
MAX_UNSENT = 1 << 18
"""Bytes that a stream has not taken yet, beyond which packets are lost."""
RECEIVE_BUFFER = 1 << 20
CHANNELS = range(0x4000, 0x5000)
"""Numbers of channels (RFC 8656 section 12)."""
CHANNEL_HEAD = struct.Struct("!HH")


@attrs.frozen
class TurnTimers:
    """Durations in seconds.

    Args:
        channel: Until a channel is bound anew: the permission that this renews lasts 300 (RFC 8656 section 9).
        silence: Without a packet until the server is asked whether it still knows us; a NAT forgets no sooner.
        open: For a connection with the server and the address: seven round trips over TLS.
        answer: For the server to answer.
        refused: In which a peer that the server does not let us reach is not asked for again.
    """

    channel: float = 240.0
    silence: float = 8.0
    open: float = 15.0
    answer: float = 8.0
    refused: float = 5.0


class Allocation(asyncio.DatagramProtocol):
    """A relayed address; packets come and go through it. Run :meth:`keep`.

    Attributes:
        address: Ours on the server.
        seen: Ours as the server sees it.
        at_once: Whether another is to be asked for as soon as this one has ended.
    """

    def __init__(
        self,
        client: TurnClientProtocol,
        received: Callable[[bytes, Address, Address], None],
        timers: TurnTimers = TurnTimers(),
    ) -> None:
        self.address: Address = ("", 0)
        self.seen: Address = ("", 0)
        self.at_once = False
        self._client, self._received, self._timers = client, received, timers
        self._is_stream = isinstance(client, TurnClientTcpProtocol)
        self._heard = anyio.current_time()
        self._ended = anyio.Event()
        self._why = ""
        self._numbers: dict[Address, int] = {}
        self._renew_at: dict[Address, float] = {}
        self._waiting: dict[Address, list[bytes]] = {}
        self._refused: dict[Address, float] = {}
        self._tasks: TaskGroup | None = None

    async def open(self) -> None:
        """Ask the server for it.

        Raises:
            OSError: There is none.
        """
        try:
            self.address = await self._client.connect()
        except TransactionError as error:
            raise ConnectionError(str(error)) from error
        self.seen = self._client.mapped_address or ("", 0)
        self._client.receiver = self

    async def keep(self, ready: Callable[[], None]) -> str:
        """Keep it, *ready* from when on it can send; why it has ended."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._watch)
            ready()
            await self._ended.wait()
            self._tasks.cancel_scope.cancel()
        self._tasks = None
        return self._why

    async def close(self) -> None:
        """Give the address back, where the server can still be told."""
        with anyio.move_on_after(1, shield=True), contextlib.suppress(OSError, TransactionError):
            await self._client.delete()
        self._client.transport.close()

    def give_up(self, why: str, *, at_once: bool = False) -> None:
        """It is of no use any more."""
        if not self._ended.is_set():
            self._why, self.at_once = why, at_once
            self._ended.set()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """From a peer."""
        self._heard = anyio.current_time()
        self._received(data, (str(addr[0]), addr[1]), self.address)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has closed, or aioice could not renew the allocation."""
        self.give_up(f"the allocation was lost{f': {exc}' if exc else ''}")

    def send(self, data: bytes | memoryview, remote: Address) -> None:
        """To a peer, without waiting; the first packets wait until it has a channel."""
        renew_at = self._renew_at.get(remote)
        if renew_at is None:
            self._wait_for_channel(bytes(data), remote)
            return
        if anyio.current_time() >= renew_at and remote not in self._waiting:
            self._bind_soon(remote)
        self._write(CHANNEL_HEAD.pack(self._numbers[remote], len(data)) + data)

    # -- inside ------------------------------------------------------------------------------------------------

    def _write(self, frame: bytes) -> None:
        if not self._is_stream:
            cast("asyncio.DatagramTransport", self._client.transport).sendto(frame)
            return
        stream = cast("asyncio.Transport", self._client.transport)
        if stream.get_write_buffer_size() < MAX_UNSENT:
            stream.write(frame + bytes(-len(frame) % 4))  # RFC 8656 section 12.5

    def _wait_for_channel(self, data: bytes, remote: Address) -> None:
        waiting = self._waiting.get(remote)
        if waiting is None:
            if self._tasks is None or anyio.current_time() < self._refused.get(remote, 0.0):
                return
            self._bind_soon(remote)
            waiting = self._waiting[remote]
        if len(waiting) < MAX_WAITING:
            waiting.append(data)

    def _bind_soon(self, remote: Address) -> None:
        if self._tasks is not None:
            self._waiting[remote] = []
            self._tasks.start_soon(self._bind, remote)

    async def _bind(self, remote: Address) -> None:
        """A channel for the peer, or its renewal; RFC 8656 section 12 has the same number go to the same peer."""
        number = self._numbers.get(remote) or CHANNELS.start + len(self._numbers)
        if number not in CHANNELS:
            self.give_up("it has no channel left", at_once=True)
            return
        self._numbers[remote] = number
        asked = anyio.current_time()
        try:
            with anyio.fail_after(self._timers.answer):
                await self._client.channel_bind(number, remote)
        except (OSError, TimeoutError, TransactionError) as error:
            _log.debug("the TURN server gives no channel: %s", words_of(error))
            self._renew_at.pop(remote, None)
            self._refused[remote] = anyio.current_time() + self._timers.refused
            del self._waiting[remote]
            return
        self._client.channel_to_peer[number], self._client.peer_to_channel[remote] = remote, number
        self._renew_at[remote] = asked + self._timers.channel
        for data in self._waiting.pop(remote):
            self.send(data, remote)

    async def _watch(self) -> None:
        """A server that was started anew knows nothing of us, and says nothing of it unless it is asked."""
        while True:
            silent = anyio.current_time() - self._heard
            if silent < self._timers.silence:
                await anyio.sleep(self._timers.silence - silent)
                continue
            request = Message(message_method=Method.REFRESH, message_class=Class.REQUEST)
            request.attributes["LIFETIME"] = LIFETIME
            try:
                with anyio.fail_after(self._timers.answer):
                    await self._client.request_with_retry(request)
            except (OSError, TimeoutError, TransactionError) as error:
                self.give_up(f"the allocation was lost: {words_of(error)}")
                return
            self._heard = anyio.current_time()


def tls_context(extra_roots: bytes) -> ssl.SSLContext:
    """The system's certificates and those, PEM."""
    context = ssl.create_default_context()
    if extra_roots:
        context.load_verify_locations(cadata=extra_roots.decode())
    return context


async def open_allocation(
    server: TurnServer,
    tls: ssl.SSLContext | None,
    received: Callable[[bytes, Address, Address], None],
    timers: TurnTimers = TurnTimers(),
    *,
    locate: Callable[[str, str, int], Awaitable[list[str]]] | None = None,
) -> Allocation:
    """A relayed address on a server, by the first of its addresses that answers.

    *locate* finds those that may be used.

    Raises:
        OSError, TimeoutError: There is none.
    """
    if locate is not None:
        addresses = await locate("TURN", server.host, server.port)
    else:
        found = await anyio.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for *_, address in found]
    failure: Exception = TimeoutError("no answer")
    for address in addresses:
        try:
            with anyio.fail_after(timers.open):
                return await _open(server, (address, server.port), tls, received, timers)
        except (OSError, TimeoutError) as error:
            failure = error
    raise failure


async def _open(
    server: TurnServer,
    address: Address,
    tls: ssl.SSLContext | None,
    received: Callable[[bytes, Address, Address], None],
    timers: TurnTimers,
) -> Allocation:
    about = address, server.user or None, server.password or None, LIFETIME, int(timers.channel)
    loop = asyncio.get_running_loop()
    client: TurnClientProtocol
    if server.transport == "tcp":
        _, client = await loop.create_connection(
            lambda: TurnClientTcpProtocol(*about),
            *address,
            ssl=tls,
            server_hostname=server.host if tls is not None else None,
        )
    else:
        wire, client = await loop.create_datagram_endpoint(lambda: TurnClientUdpProtocol(*about), remote_addr=address)
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    allocation = Allocation(client, received, timers)
    try:
        await allocation.open()
    except BaseException:
        client.transport.close()
        raise
    return allocation
