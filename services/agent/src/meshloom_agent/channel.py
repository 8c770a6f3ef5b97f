"""Connections to servers: URLs, TLS, keepalives that neither side refuses."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import anyio.lowlevel
import attrs
import grpc

from meshloom.errors import ConfigError

T = TypeVar("T")

CONNECT_WITHIN = 20.0
"""Seconds for TCP's and TLS's handshakes and the server's first frame, which are four round trips and more.

gRPC calls this ``min_reconnect_backoff_ms``, and waits between two tries by the other two (doc/connection-backoff.md of
gRPC: MIN_CONNECT_TIMEOUT). A try ends early where it is refused.
"""
KEEPALIVE, KEEPALIVE_WITHIN = 30.0, 20.0
"""Seconds between two PINGs on a connection that is in use, and for the answer to one."""
FIRST_RETRY, LONGEST_RETRY = 0.5, 5.0
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", int(KEEPALIVE * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_WITHIN * 1000)),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", int(FIRST_RETRY * 1000)),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_WITHIN * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(LONGEST_RETRY * 1000)),
    ("grpc.use_local_subchannel_pool", 1),
)
SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


@attrs.frozen
class ServerAddress:
    """Where a server is.

    Args:
        target: Host and port.
        ip: The address to connect to in place of what the host resolves to; empty for none.
    """

    target: str
    tls: bool
    ip: str = ""

    @property
    def url(self) -> str:
        """For people."""
        return f"{'https' if self.tls else 'http'}://{self.target}"


def parse_url(url: str, flag: str = "--management-url") -> ServerAddress:
    """A server's URL; its path says nothing.

    Raises:
        ConfigError: It is no http or https URL.
    """
    wrong = f"{flag} = {url!r}: no URL of a server; write it like https://mesh.example.net"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(wrong) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError(wrong)
    tls = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServerAddress(f"{host}:{port or (443 if tls else 80)}", tls)


def open_channel(address: ServerAddress, extra_roots: bytes = b"") -> grpc.aio.Channel:
    """A channel that connects by itself; *extra_roots* (PEM) are trusted besides the system's certificates."""
    target, options = f"dns:///{address.target}", OPTIONS  # of a host called `unix`, gRPC would make a socket's file
    if address.ip:
        host, _, port = address.target.rpartition(":")
        family, shown = ("ipv6", f"[{address.ip}]") if ":" in address.ip else ("ipv4", address.ip)
        target = f"{family}:{shown}:{port}"
        options = (*OPTIONS, ("grpc.default_authority", address.target))
        if address.tls:
            options = (*options, ("grpc.ssl_target_name_override", host.strip("[]")))
    if not address.tls:
        return grpc.aio.insecure_channel(target, options=options)
    certificates = b"\n".join(each for each in (_system_roots(), extra_roots) if each) or None
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(certificates), options=options)


async def answer_of(call: Awaitable[T]) -> T:
    """Returns the one answer of a call; where a scope gives the call up, that ends this scope and nothing more.

    gRPC swallows the scope's cancellation and raises one of its own, which no scope takes for its own.
    """
    try:
        return await call
    except asyncio.CancelledError:
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise


def _system_roots() -> bytes:
    for path in (os.environ.get("SSL_CERT_FILE", ""), *SYSTEM_ROOTS):
        with contextlib.suppress(OSError):
            if path:
                return Path(path).read_bytes()
    return b""
