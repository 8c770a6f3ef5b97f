"""Relay messages over WebSocket, on the picows library: the same wire as ``websocket``, several times faster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import attrs

from meshloom import Backend, hookimpl
from meshloom.transport import Transport, TransportContext

WIRE = "websocket"
RANK = 10
"""Before the backend of the websockets library, which speaks the same."""


@attrs.frozen
class Options:
    """The table ``[transport.picows]``: nothing to be set."""


def _probe() -> str | None:
    return None if find_spec("picows") else "the library picows is not installed"


@asynccontextmanager
async def _open(_options: Options, context: TransportContext) -> AsyncIterator[Transport]:
    from meshloom_transport_picows.transport import PicowsTransport

    transport = PicowsTransport(context)
    try:
        yield transport
    finally:
        await transport.close()


@hookimpl
def meshloom_transports() -> list[Backend[TransportContext, Transport]]:
    """WebSocket by compiled code."""
    return [Backend("picows", Options, _open, _probe, RANK, WIRE)]
