"""Relay messages over WebSocket, on the websockets library: pure Python, on every host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import attrs

from meshloom import Backend, hookimpl
from meshloom.transport import Transport, TransportContext

WIRE = "websocket"
RANK = 20
"""After the backend of the picows library, which speaks the same."""


@attrs.frozen
class Options:
    """The table ``[transport.websocket]``: nothing to be set."""


def _probe() -> str | None:
    return None if find_spec("websockets") else "the library websockets is not installed"


@asynccontextmanager
async def _open(_options: Options, context: TransportContext) -> AsyncIterator[Transport]:
    from meshloom_transport_websocket.transport import WebSocketTransport

    transport = WebSocketTransport(context)
    try:
        yield transport
    finally:
        await transport.close()


@hookimpl
def meshloom_transports() -> list[Backend[TransportContext, Transport]]:
    """WebSocket in Python."""
    return [Backend("websocket", Options, _open, _probe, RANK, WIRE)]
