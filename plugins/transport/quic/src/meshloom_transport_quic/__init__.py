"""Relay messages in QUIC datagrams (RFC 9221), on the aioquic library."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from importlib.util import find_spec

import attrs

from meshloom import Backend, hookimpl
from meshloom.config import key
from meshloom.transport import Transport, TransportContext


@attrs.frozen
class Options:
    """The table ``[transport.quic]``."""

    largest_packet: int = key(
        default=1452,
        validator=[attrs.validators.ge(1232), attrs.validators.le(9000)],
        help="Bytes of the largest UDP payload that a path is probed for; 1452 fits IPv6 on Ethernet.",
    )
    queue: int = key(
        default=256,
        validator=[attrs.validators.ge(1), attrs.validators.le(65536)],
        help="Messages that wait for a connection's congestion window; what comes on top is dropped.",
    )
    idle: timedelta = key(
        default=timedelta(minutes=4),
        validator=attrs.validators.ge(timedelta(seconds=1)),
        help="Silence after which a connection is given up; a client makes itself heard eight times as often.",
    )


def _probe() -> str | None:
    return None if find_spec("aioquic") else "aioquic is not installed (pip install meshloom-transport-quic)"


def _open(options: Options, context: TransportContext) -> AbstractAsyncContextManager[Transport]:
    from meshloom_transport_quic.transport import open_quic

    return open_quic(options, context)


@hookimpl
def meshloom_transports() -> Iterable[Backend[TransportContext, Transport]]:
    """QUIC as NetBird speaks it; WebSocket carries several times more."""
    return [Backend("quic", Options, _open, _probe, rank=30)]
