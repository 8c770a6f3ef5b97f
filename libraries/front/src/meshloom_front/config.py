"""What the servers can be told; one file serves all of them, each reads what it needs."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from meshloom.config import Secret, key
from meshloom.errors import ConfigError
from meshloom.log_levels import LISTED
from meshloom_front.forwarded import LOOPBACK, Proxies
from meshloom_front.listening import parse_address
from meshloom_front.own_address import own_address


@attrs.frozen
class TLS:
    """The table ``[tls]``: without it the port is plain, as behind a proxy."""

    certificate: Path | None = key(default=None, help="PEM file of the certificate and its chain.")
    key: Path | None = key(default=None, help="PEM file of the certificate's private key.")


@attrs.frozen
class RelayTable:
    """The table ``[relay]``: the relay of this server, and which relays peers are told of."""

    enabled: bool = key(default=True, help="Whether `meshloom-server` relays itself.")
    public_url: str = key(
        default="", help="Where peers reach this relay, as rel://host:port or rels://host:port; none for `public_url`."
    )
    secret: Secret | None = key(
        default=None,
        help="What management signs peers' tokens with and relays check them with. Several, one a line: all are"
        " accepted, the first signs. Made at the first start, in `data_dir`, where none is given.",
    )
    urls: tuple[str, ...] = key(
        default=(),
        help="Relays that peers are told of, the preferred first, such as rels://relay.example.net:443; none for the"
        " one of this server.",
    )
    weights: tuple[int, ...] = key(
        default=(),
        help="A number for each of `relay.urls`: in proportion to them, peers are told another one first; none for"
        " the order of the URLs. 0: only where no other is there.",
    )
    token_lifetime: timedelta = key(
        default=timedelta(hours=24),
        help="How long a peer's token for relays is good; renewed at half of it. A connection to a relay ends with the"
        " token that it was opened with, unless the peer has shown a newer one.",
    )
    health_interval: timedelta = key(
        default=timedelta(seconds=15), help="How often management tries each of `relay.urls`; 0 for never."
    )
    max_peers: int = key(default=20_000, help="Connections to this relay, further ones are refused.")
    max_waiting: int = key(
        default=1_000,
        help="Connections that have not shown a token yet; the oldest of the address that has most gives way.",
    )
    max_per_token: int = key(
        default=1_000,
        help="Connections with one and the same token, of tokens that do not name their peer. NetBird's management"
        " gives the same token to all machines that ask within a second.",
    )
    queue: int = key(default=256 * 1024, help="Bytes kept for a peer that reads slowly; the oldest packets give way.")
    total_queue: int = key(
        default=256 * 1024 * 1024,
        help="Bytes kept for all such peers together; the oldest packets of the one with most give way.",
    )
    total_watched: int = key(
        default=2_000_000,
        help="Other peers that all peers of this relay together may wait for; half is shared out evenly, and each peer"
        " may wait for 10 000.",
    )
    peer_rate: int = key(default=0, help="Bytes a second that one peer may send through this relay; 0 for no bound.")
    total_rate: int = key(default=0, help="Bytes a second of all peers of this relay together; 0 for no bound.")


@attrs.frozen
class TurnTable:
    """The table ``[turn]``: TURN servers that peers are told of, for pairs that no relay of the mesh reaches."""

    urls: tuple[str, ...] = key(
        default=(),
        help="As turn:host:port?transport=udp, with tcp, or turns:host:port?transport=tcp; empty for none.",
    )
    secret: Secret | None = key(
        default=None,
        help="What the TURN servers share with management (coturn's static-auth-secret): each peer is given a user and"
        " a password that expire.",
    )
    lifetime: timedelta = key(
        default=timedelta(hours=24), help="How long these are good; connected peers are given new ones at half of it."
    )
    user: str = key(default="", help="Instead of `turn.secret`: the one user that all peers are given.")
    password: Secret | None = key(default=None, help="The password of `turn.user`.")


@attrs.frozen
class ServerConfig:
    """Keys of ``meshloom-server`` and of each of its services alone."""

    listen: str = key(default=":80", help="Address of the one TCP port for gRPC and HTTP.")
    public_url: str = key(
        default="",
        help="URL at which machines reach this server, without a path. Where it is not given: the address of"
        " `listen`, or the one from which this host reaches others.",
    )
    data_dir: Path = key(
        default=Path("/var/lib/meshloom-server"), help="Folder of the server's key and state; made with mode 0700."
    )
    stun_port: int = key(default=3478, help="UDP port of the STUN service.")
    stun_alternate_port: int = key(
        default=0, help="UDP port by which machines learn what their NAT filters; 0 for the one after `stun_port`."
    )
    stun_alternate_address: str = key(
        default="", help="A second IP address of this host, by which they learn more of their NAT; empty for none."
    )
    metrics: str = key(default="127.0.0.1:9090", help="Address of metrics and health; empty for none.")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = key(
        default=(),
        help="Networks of reverse proxies whose `X-Forwarded-For` is believed, such as 10.0.0.2/32; each must set that"
        " field itself. None for loopback where `listen` is a loopback address, and for nobody elsewhere.",
    )
    signal_url: str = key(default="", help="URL of the signal service where it runs apart; empty for `public_url`.")
    stun_urls: tuple[str, ...] = key(
        default=(), help="STUN servers that peers are told of, as stun:host:port; none for the host of `public_url`."
    )
    dns_domain: str = key(default="meshloom.internal", help="Domain of the peers' names in accounts that set none.")
    network_range: IPv4Network | None = key(
        default=None, help="Overlay network of a new account; a random /16 of 100.64.0.0/10 where not given."
    )
    network_range_v6: IPv6Network | None = key(
        default=None, help="IPv6 overlay network of a new account; a random /64 of fd00::/8 where not given."
    )
    default_policy: bool = key(default=True, help="Whether all peers of a new account may reach each other at first.")
    setup_pat_enabled: bool = key(
        default=False,
        help="Whether anybody who comes first may set the server up, without the secret, as NetBird's servers allow.",
    )
    log_level: str = key(default="info", help=f"{LISTED}.")
    tls: TLS = attrs.field(factory=TLS)
    relay: RelayTable = attrs.field(factory=RelayTable)
    turn: TurnTable = attrs.field(factory=TurnTable)

    @property
    def believed_proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of :attr:`trusted_proxies`, or loopback where nobody else reaches this server's port."""
        host = self.listen.rpartition(":")[0].strip("[]")
        is_local = host == "localhost" or Proxies(LOOPBACK).trusts(host)
        return LOOPBACK if is_local and not self.trusted_proxies else self.trusted_proxies

    @property
    def url(self) -> str:
        """The public URL, guessed where it is not given.

        Raises:
            ConfigError: It is no http or https URL, or `listen` is no address.
        """
        if not self.public_url:
            host, port = parse_address(self.listen, "listen")
            shown = f"[{host}]" if ":" in host else host
            guess = shown if host not in ("", "0.0.0.0", "::") else own_address()
            return f"{'https' if self.tls.certificate else 'http'}://{guess}:{port}"
        return checked_url(self.public_url, "public_url")


def checked_url(text: str, name: str) -> str:
    """Returns an http or https URL of a host, without its last slash.

    Raises:
        ConfigError: It is none, or it has more than a host and a port.
    """
    example = "write it like https://mesh.example.net"
    try:
        parts = urlsplit(text)
        more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good, more = False, None
    if not is_good:
        raise ConfigError(f"{name} = {text!r}: no URL of a server; {example}")
    if more or "?" in text or "#" in text:
        raise ConfigError(
            f"{name} = {text!r}: a server is reached at a host and a port alone, since gRPC knows no paths; {example}"
        )
    if _is_unspecified(parts.hostname or ""):
        raise ConfigError(f"{name} = {text!r}: at this address a server listens, and nobody reaches it; {example}")
    return text.rstrip("/")


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def host_and_port(url: str) -> str:
    """``host:port`` of a URL, with the scheme's port where it has none."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
