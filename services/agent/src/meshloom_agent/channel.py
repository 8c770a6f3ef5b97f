"""Connections to servers: URLs, TLS, keepalives that neither side refuses."""

import contextlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import grpc

from meshloom.errors import ConfigError

OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
)
SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


@attrs.frozen
class ServerAddress:
    """Where a server is."""

    target: str
    tls: bool

    @property
    def url(self) -> str:
        """For people."""
        return f"{'https' if self.tls else 'http'}://{self.target}"


def parse_url(url: str, flag: str = "--management-url") -> ServerAddress:
    """A server's URL; its path says nothing.

    Raises:
        ConfigError: It is no http or https URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise ConfigError(f"{flag} = {url!r}: no URL of a server; write it like https://mesh.example.net")
    tls = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServerAddress(f"{host}:{port or (443 if tls else 80)}", tls)


def open_channel(address: ServerAddress, extra_roots: bytes = b"") -> grpc.aio.Channel:
    """A channel that connects by itself; *extra_roots* (PEM) are trusted besides the system's certificates."""
    target = f"dns:///{address.target}"  # of a host called `unix`, gRPC would make a socket's file
    if not address.tls:
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    certificates = b"\n".join(each for each in (_system_roots(), extra_roots) if each) or None
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(certificates), options=OPTIONS)


def _system_roots() -> bytes:
    for path in (os.environ.get("SSL_CERT_FILE", ""), *SYSTEM_ROOTS):
        with contextlib.suppress(OSError):
            if path:
                return Path(path).read_bytes()
    return b""
