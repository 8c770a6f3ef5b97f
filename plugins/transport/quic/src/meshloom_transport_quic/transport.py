"""The transport: both roles of QUIC, and the connections that they opened."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from meshloom.transport import Accept, Connection, Receiver, RelayAddress, Transport, TransportContext
from meshloom_transport_quic import Options
from meshloom_transport_quic.certificates import Certificate, Shown
from meshloom_transport_quic.client import dial
from meshloom_transport_quic.link import DRAIN, Link
from meshloom_transport_quic.server import Server
from meshloom_transport_quic.sockets import prepare


class QuicTransport(Transport):
    """QUIC datagrams on aioquic; serves datagrams as well."""

    def __init__(self, options: Options, context: TransportContext) -> None:
        self._options, self._context = options, context
        self._dialled: set[Link] = set()

    async def connect(self, address: RelayAddress, receiver: Receiver) -> Connection:
        """See :meth:`Transport.connect`."""
        link = await dial(address, receiver, self._context, self._options)
        self._dialled = {one for one in self._dialled if not one.is_lost}
        self._dialled.add(link)
        return link

    @asynccontextmanager
    async def serve(
        self, listening: socket.socket, certificate: Certificate | None, accept: Accept
    ) -> AsyncIterator[None]:
        """See :meth:`meshloom.transport.ServesDatagrams.serve`."""
        prepare(listening, self._context)
        server = Server(listening, Shown(certificate, self._options.idle), accept, self._options)
        try:
            yield
        finally:
            await server.close()

    async def close(self) -> None:
        """Close the connections that were opened."""
        for link in self._dialled:
            link.close()
        with anyio.move_on_after(DRAIN + 1, shield=True):
            for link in self._dialled:
                await link.ended.wait()


@asynccontextmanager
async def open_quic(options: Options, context: TransportContext) -> AsyncIterator[Transport]:
    """The running backend.

    aioquic reports each broken packet of whoever sends one as a warning: only its errors are let through, unless the
    operator wants more.
    """
    library = logging.getLogger("quic")
    if library.level == logging.NOTSET:
        library.setLevel(logging.ERROR)
    made = QuicTransport(options, context)
    try:
        yield made
    finally:
        await made.close()
