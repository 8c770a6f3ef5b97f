"""Where peers find the other services; part of what every peer is told."""

import base64
import hashlib
import hmac
import math
import re
from datetime import datetime, timedelta

import attrs

from meshloom.model.ids import PeerID
from meshloom.model.peer import Peer
from meshloom.protocol.relay import RelayPeerID, relay_peer_id
from meshloom.protocol.relay_token import issue_named_token, issue_token, join_token

LONGEST_OFFSET, OFFSET_SHARE = timedelta(hours=1), 8
"""By how much a peer's tokens may expire earlier than others', as a time and as a share of their life: so the tokens
of two peers differ, and not all connections to a relay end in the same second."""
_HOST = re.compile(r"([a-z]+:(//)?)?(\[(?P<v6>[^\]]+)\]|(?P<name>[^\[\]:/?]+))(:\d+)?(/.*|\?.*)?")
"""The host of ``host:port``, of a URL, and of what RFC 7064 and RFC 7065 write."""
MANAGEMENT = "management"
"""The account of management's own token for relays: not one of those that peers belong to."""
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
        naming: Relays that are known to accept tokens which name their peer.
    """

    urls: tuple[str, ...]
    secret: str = attrs.field(repr=False)
    lifetime: timedelta = timedelta(hours=24)
    weights: tuple[int, ...] = ()
    down: frozenset[str] = frozenset()
    naming: frozenset[str] = frozenset()

    def urls_for(self, peer: str) -> list[str]:
        """What a peer is told, the preferred first; for the same peer it changes as little as can be."""
        ordered = list(self.urls)
        if self.weights:
            shares = dict(zip(self.urls, self.weights, strict=True))
            ordered.sort(key=lambda url: -_score(peer, url, shares[url]))
        up = [url for url in ordered if url not in self.down]
        return (up or ordered)[:MOST_RELAYS]

    def token(self, peer: PeerID, now: datetime) -> tuple[str, str]:
        """Returns payload (the time of expiry) and signature of a token that does not name its peer."""
        return issue_token(self.secret, self._expiry(peer, now))

    def named_token(self, peer: Peer, now: datetime) -> tuple[str, str]:
        """Returns payload and signature of a token for that peer alone."""
        return issue_named_token(self.secret, self._expiry(peer.id, now), peer.account_id, relay_peer_id(peer.key))

    def probe_tokens(self, id: RelayPeerID, now: datetime) -> tuple[bytes, bytes]:
        """Returns what management itself shows to a relay: a token with its name, and one without."""
        expires = int((now + self.lifetime).timestamp())
        named = issue_named_token(self.secret, expires, MANAGEMENT, id)
        return join_token(*named), join_token(*issue_token(self.secret, expires))

    def _expiry(self, peer: PeerID, now: datetime) -> int:
        spread = int(min(LONGEST_OFFSET, self.lifetime / OFFSET_SHARE).total_seconds())
        offset = int.from_bytes(hashlib.sha256(peer.encode()).digest()[:8]) % max(1, spread)
        return int((now + self.lifetime).timestamp()) - offset


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

    @property
    def hosts(self) -> dict[str, str]:
        """What peers must reach beside the mesh: names and addresses of hosts, each with what it is."""
        relays = self.relay.urls if self.relay is not None else ()
        turn = self.turn.urls if self.turn is not None else ()
        found: dict[str, str] = {}
        for what, texts in (("signal", (self.signal,)), ("relays", relays), ("STUN", self.stun), ("TURN", turn)):
            for text in texts:
                if match := _HOST.fullmatch(text):
                    found.setdefault((match["v6"] or match["name"]).lower(), what)
        return found
