"""Connecting to relays, and being one on connections that something else accepted."""

import asyncio
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import anyio.lowlevel
from websockets.client import ClientProtocol
from websockets.frames import CloseCode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from meshloom.dialing import client_tls, dial, prepare_stream
from meshloom.errors import TransportError, words_of
from meshloom.transport import (
    LONGEST_MESSAGE,
    LONGEST_OF_STRANGER,
    Accept,
    Connection,
    Receiver,
    RelayAddress,
    Transport,
    TransportContext,
)
from meshloom_transport_websocket.connection import PATH, QUIET, Unanswering, WebSocketConnection

TURNS = 100
"""Of the event loop, in which connections that are ended are gone."""


class WebSocketTransport(Transport):
    """WebSocket on the websockets library, in both roles."""

    def __init__(self, context: TransportContext) -> None:
        self._context = context
        self._tls = client_tls(context)
        self._opened: set[WebSocketConnection] = set()

    async def connect(self, address: RelayAddress, receiver: Receiver) -> Connection:
        """As the contract says."""
        made = await dial(address, self._context)
        connection = ClientConnection(address, receiver, self._opened)
        is_open = False
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                sock=made,
                ssl=self._tls if address.tls else None,
                server_hostname=address.host if address.tls else None,
            )
            if problem := await connection.answered:
                raise TransportError(f"{address} answers, but not as a relay: {problem}")
            is_open = True
        except ssl.SSLCertVerificationError as error:
            raise TransportError(f"{address} shows no certificate that is trusted: {error.verify_message}") from error
        except OSError as error:
            raise TransportError(f"{address} answers, but not as a relay: {words_of(error)}") from error
        finally:
            if not is_open:
                connection.forget()
                made.close()
        return connection

    def stream_protocol(self, accept: Accept) -> Callable[[], Any]:
        """As the contract says."""
        return lambda: ServerConnection(accept, self._context, self._opened)

    async def close(self) -> None:
        """End what is still open."""
        for connection in list(self._opened):
            connection.abort()
        for _ in range(TURNS):
            if self._opened:
                await anyio.lowlevel.checkpoint()


class Client(Unanswering, ClientProtocol):
    """The library's state machine of a client."""


class Server(Unanswering, ServerProtocol):
    """The library's state machine of a server."""


class ClientConnection(WebSocketConnection):
    """To a relay; ``answered`` has what is wrong with its answer, nothing where it is one."""

    def __init__(self, address: RelayAddress, receiver: Receiver, opened: set[WebSocketConnection]) -> None:
        uri = parse_uri(f"{'wss' if address.tls else 'ws'}://{address.authority}{PATH}")
        super().__init__(Client(uri, max_size=LONGEST_MESSAGE, logger=QUIET), opened, LONGEST_MESSAGE)
        self._receiver = receiver
        self.answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        super().connection_made(transport)
        client: Any = self._websocket
        client.send_request(client.connect())
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Perhaps before there was an answer."""
        if not self.answered.done():
            self._receiver = None
            self.answered.set_result(str(self._websocket.handshake_exc or "it closed the connection"))
        super().connection_lost(exc)

    def handshake(self, event: Any) -> None:  # noqa: ARG002
        """The relay's answer."""
        problem = self._websocket.handshake_exc
        if not self.answered.done():
            if problem is not None:
                self._receiver = None
            self.answered.set_result(str(problem) if problem else "")
        self.established()

    def forget(self) -> None:
        """Nobody wants it any more; the receiver is not told."""
        self._receiver = None
        self.abort()


class ServerConnection(WebSocketConnection):
    """To this relay; a request for anything else is answered and ended."""

    def __init__(self, accept: Accept, context: TransportContext, opened: set[WebSocketConnection]) -> None:
        super().__init__(Server(max_size=LONGEST_MESSAGE, logger=QUIET), opened, LONGEST_OF_STRANGER)
        self._accept, self._socket_buffer, self._origin = accept, context.socket_buffer, context.origin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The request must follow soon, where it has not come yet."""
        super().connection_made(transport)
        if (made := transport.get_extra_info("socket")) is not None:
            prepare_stream(made, self._socket_buffer)

    def handshake(self, event: Any) -> None:
        """A request."""
        server: Any = self._websocket
        if event.path.partition("?")[0] != PATH:
            server.send_response(server.reject(HTTPStatus.NOT_FOUND, "404 page not found\n"))
            return
        response = server.accept(event)
        server.send_response(response)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        self.established()
        said = ",".join(event.headers.get_all("X-Forwarded-For"))
        self.remote = (self._origin(self.remote[0], said), self.remote[1])
        self._receiver = self._accept(self)
        if self._receiver is None:
            self._close(CloseCode.TRY_AGAIN_LATER, "refused")
