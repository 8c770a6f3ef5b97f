"""Where peers find the other services; part of what every peer is told."""

import base64
import hashlib
import hmac
import math
from datetime import datetime, timedelta

import attrs

from meshloom.protocol.relay_token import issue_token

MOST_RELAYS = 7
"""Relays that a peer is told of; it connects to no more at once."""


@attrs.define
class RelayCredentials:
    """The relays that peers may use.

    Args:
        urls: ``rel://host:port`` or ``rels://host:port``, the preferred first.
        secret: What the relays check tokens with.
        lifetime: How long a token is good.
        weights: One for each URL: in proportion to them, peers are told another one first; none for the order of URLs.
        down: Relays that peers are not told of for now, unless there is no other.
    """

    urls: tuple[str, ...]
    secret: str = attrs.field(repr=False)
    lifetime: timedelta = timedelta(hours=24)
    weights: tuple[int, ...] = ()
    down: frozenset[str] = frozenset()

    def urls_for(self, peer: str) -> list[str]:
        """What a peer is told, the preferred first; for the same peer it changes as little as can be."""
        ordered = list(self.urls)
        if self.weights:
            shares = dict(zip(self.urls, self.weights, strict=True))
            ordered.sort(key=lambda url: -_score(peer, url, shares[url]))
        up = [url for url in ordered if url not in self.down]
        return (up or ordered)[:MOST_RELAYS]

    def token(self, now: datetime) -> tuple[str, str]:
        """Payload (the time of expiry) and signature of a token."""
        return issue_token(self.secret, int((now + self.lifetime).timestamp()))


def _score(peer: str, url: str, weight: int) -> float:
    """Of weighted rendezvous hashing: the highest wins in proportion to the weights."""
    drawn = int.from_bytes(hashlib.sha256(f"{peer} {url}".encode()).digest()[:8]) + 1
    return weight / -math.log(drawn / (2**64 + 1))


@attrs.frozen
class TurnCredentials:
    """The TURN servers that peers may use: with what a shared secret makes, which expires, or as one user.

    Args:
        urls: ``turn:host:port?transport=udp`` or ``tcp``, ``turns:host:port?transport=tcp``.
        secret: Shared with the servers; None for *user* and *password*.
        lifetime: How long what the secret makes is good.
    """

    urls: tuple[str, ...]
    secret: str | None = attrs.field(default=None, repr=False)
    lifetime: timedelta = timedelta(hours=24)
    user: str = ""
    password: str = attrs.field(default="", repr=False)

    def for_peer(self, peer: str, now: datetime) -> tuple[str, str]:
        """User and password of a peer; the expiring ones as draft-uberti-behave-turn-rest-00 section 2.2 says."""
        if self.secret is None:
            return self.user, self.password
        user = f"{int((now + self.lifetime).timestamp())}:{peer}"
        digest = hmac.digest(self.secret.encode(), user.encode(), "sha1")
        return user, base64.b64encode(digest).decode()


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
    turn: TurnCredentials | None = None

    @property
    def renew_every(self) -> float:
        """Seconds after which connected peers need new credentials: half of the shortest life; infinite for never."""
        lives = [self.relay.lifetime] if self.relay is not None else []
        if self.turn is not None and self.turn.secret is not None:
            lives.append(self.turn.lifetime)
        return min((life.total_seconds() / 2 for life in lives), default=math.inf)
