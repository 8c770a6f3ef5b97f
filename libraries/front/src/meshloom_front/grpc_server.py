"""The gRPC server behind the shared port."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

LONGEST_REQUEST = 1 << 20
GRACE = 2.0
"""Seconds that calls have to end in when the server stops."""
OPTIONS = (
    ("grpc.max_receive_message_length", LONGEST_REQUEST),
    ("grpc.max_send_message_length", -1),
    # Clients ping every 30 s; the default here would send them away for less than 5 minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # The other way round: a client that is gone without a word is noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # One that says it speaks HTTP/2, and then nothing.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.so_reuseport", 0),
)


@asynccontextmanager
async def open_grpc(
    handlers: Iterable["grpc.GenericRpcHandler[Any, Any]"], socket_path: Path, grace: float = GRACE
) -> AsyncIterator[grpc.aio.Server]:
    """Serve on a unix socket until leaving, or until it is stopped; calls then have *grace* seconds to end."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(tuple(handlers))
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace)
