"""Connecting to relays, and being one on connections that something else accepted."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import anyio.lowlevel
from picows import WSError, WSUpgradeRequest

from meshloom.dialing import client_tls, dial, prepare_stream
from meshloom.errors import TransportError, words_of
from meshloom.transport import Accept, Connection, Receiver, RelayAddress, Transport, TransportContext
from meshloom_transport_picows.connection import HANDSHAKE_WITHIN, PATH, PicowsConnection, Protocol

TURNS = 100
"""Of the event loop, in which connections that are ended are gone."""


class PicowsTransport(Transport):
    """WebSocket on picows, in both roles."""

    def __init__(self, context: TransportContext) -> None:
        self.context = context
        self.opened: set[PicowsConnection] = set()
        self._tls = client_tls(context)

    async def connect(self, address: RelayAddress, receiver: Receiver) -> Connection:
        """As the contract says."""
        made = await dial(address, self.context)
        connection = PicowsConnection(receiver, None, self.opened)
        protocol = Protocol(lambda: connection, address.authority)
        transport: asyncio.Transport | None = None
        is_made = False
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: protocol,
                sock=made,
                ssl=self._tls if address.tls else None,
                server_hostname=address.host if address.tls else None,
            )
            await protocol.wait_until_handshake_complete()
            if not connection.has_opened:
                raise TransportError(f"{address} answers, but closed the connection before it was a relay's")
            is_made = True
        except ssl.SSLCertVerificationError as error:
            raise TransportError(f"{address} shows no certificate that is trusted: {error.verify_message}") from error
        except (OSError, WSError) as error:
            raise TransportError(f"{address} answers, but not as a relay: {words_of(error)}") from error
        finally:
            if not is_made:
                connection.forget()
                (transport.abort if transport else made.close)()
        return connection

    def stream_protocol(self, accept: Accept) -> Callable[[], Any]:
        """As the contract says."""
        return lambda: ServerProtocol(self, accept)

    async def close(self) -> None:
        """End what is still open."""
        for connection in list(self.opened):
            connection.abort()
        for _ in range(TURNS):
            if self.opened:
                await anyio.lowlevel.checkpoint()


class ServerProtocol(Protocol):
    """One connection to this relay; a request for anything else is answered and ended."""

    def __init__(self, transport: PicowsTransport, accept: Accept) -> None:
        super().__init__(self._answer)
        self._connection = PicowsConnection(None, accept, transport.opened)
        self._buffer, self._origin = transport.context.socket_buffer, transport.context.origin
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The request must follow soon, where it has not come yet."""
        if (made := transport.get_extra_info("socket")) is not None:
            prepare_stream(made, self._buffer)
        super().connection_made(transport)
        self._late = asyncio.get_running_loop().call_later(HANDSHAKE_WITHIN, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """The last call."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _answer(self, request: WSUpgradeRequest) -> PicowsConnection | None:
        """What picows makes the answer from: none is 404."""
        if request.path.partition(b"?")[0] != PATH.encode():
            return None
        if self._late is not None:
            self._late.cancel()
        said = ",".join(request.headers.getall("x-forwarded-for", ()))
        self._connection.origin = lambda address: self._origin(address, said)
        return self._connection

    def _too_late(self) -> None:
        self.transport.disconnect(False)
