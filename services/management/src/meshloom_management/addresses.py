"""Where peers find the other services; part of what every peer is told."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta

import attrs


@attrs.frozen
class RelayCredentials:
    """A relay outside this server that peers may use.

    Args:
        urls: ``rel://host:port`` or ``rels://host:port``.
        secret: What the relay checks tokens with.
        lifetime: How long a token is good.
    """

    urls: tuple[str, ...]
    secret: str = attrs.field(repr=False)
    lifetime: timedelta = timedelta(hours=24)

    def token(self, now: datetime) -> tuple[str, str]:
        """Payload (the time of expiry) and signature of a token."""
        payload = str(int((now + self.lifetime).timestamp()))
        key = hashlib.sha256(self.secret.encode()).digest()
        return payload, base64.b64encode(hmac.digest(key, payload.encode(), "sha256")).decode()


@attrs.frozen
class ServiceAddresses:
    """Where peers find the other services.

    Args:
        signal: ``host:port``.
        signal_tls: Whether it is reached with TLS.
        stun: ``stun:host:port`` of each STUN server.
    """

    signal: str
    signal_tls: bool = False
    stun: tuple[str, ...] = ()
    relay: RelayCredentials | None = None
