"""What a server's configuration means for management: what peers are told of addresses, and whether it can be."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from meshloom.config.problems import gather
from meshloom.errors import ConfigError
from meshloom.model.overlay import SMALLEST, IPAddress, objection
from meshloom.service import Setup
from meshloom_front.config import ServerConfig, checked_url, host_and_port
from meshloom_front.relays import checked_relay_url, relay_secrets, relay_url
from meshloom_management.addresses import RelayCredentials, ServiceAddresses, TurnCredentials
from meshloom_management.nearby import resolved
from meshloom_management.operations.names import is_domain
from meshloom_management.server_key import kept_key

SHORTEST_LIFETIME = timedelta(minutes=1)
MAX_PORT = 0xFFFF
SHORTEST_HEALTH_INTERVAL = timedelta(seconds=1)
HOST = r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?"
STUN_URL = re.compile(rf"stun:{HOST}")
TURN_URL = re.compile(
    rf"(?P<scheme>turns?):{HOST}"
    r"(\?transport=(?P<transport>udp|tcp))?"
)


def check_management(setup: Setup[ServerConfig], *, has_relay: bool = False) -> None:
    """Checks what the configuration says of management; nothing is made.

    Args:
        setup: What the server is run with.
        has_relay: Whether the same server relays.

    Raises:
        ConfigError: Everything that is wrong.
    """
    config = setup.config
    gather(
        partial(_check_told, config, has_relay=has_relay),
        partial(_check_domain, config.dns_domain),
        partial(_check_folder, config.data_dir),
        partial(kept_key, config.data_dir),
    )


def _check_told(config: ServerConfig, *, has_relay: bool) -> None:
    addresses = service_addresses(config, has_relay=has_relay, makes=False)
    if config.network_range is not None or config.network_range_v6 is not None:
        check_ranges(config, anyio.run(resolved, servers_of(config, addresses)))


def _check_folder(folder: Path) -> None:
    """Looks whether the data folder is one, or can become one."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir():
        raise ConfigError(f"data_dir = {str(folder)!r}: {there} is not a folder; choose another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"data_dir = {str(folder)!r}: {there} cannot be written; run as its owner or choose another")


def _check_domain(text: str) -> None:
    if not is_domain(text):
        raise ConfigError(f"dns_domain = {text!r}: not a domain of DNS; write it like meshloom.internal")


def check_ranges(config: ServerConfig, servers: Mapping[IPAddress, str]) -> None:
    """Looks whether new accounts can have the networks that they shall have.

    Raises:
        ConfigError: They cannot.
    """
    for key, network in (("network_range", config.network_range), ("network_range_v6", config.network_range_v6)):
        if network is None:
            continue
        smallest = SMALLEST[network.version]
        small = f"it is smaller than a /{smallest}" if network.prefixlen > smallest else ""
        if why := small or objection(network, servers):
            raise ConfigError(f"{key} = {str(network)!r}: no mesh can have it: {why}; choose another, or leave it out")


def servers_of(config: ServerConfig, addresses: ServiceAddresses) -> dict[str, str]:
    """Returns the hosts that machines must reach beside the mesh, each with what it is."""
    return {(urlsplit(config.url).hostname or ""): "this server", **addresses.hosts}


def service_addresses(config: ServerConfig, *, has_relay: bool = False, makes: bool = True) -> ServiceAddresses:
    """What peers are told of the other services.

    Args:
        config: The server's.
        has_relay: Whether this server relays itself.
        makes: Whether a missing secret of relays is made.

    Raises:
        ConfigError: A URL is wrong, or relays are named whose secret is not.
    """
    signal = checked_url(config.signal_url, "signal_url") if config.signal_url else config.url
    host = host_and_port(config.url).rpartition(":")[0]
    return ServiceAddresses(
        signal=host_and_port(signal),
        signal_tls=urlsplit(signal).scheme == "https",
        stun=tuple(map(_checked_stun_url, config.stun_urls)) or (f"stun:{host}:{config.stun_port}",),
        relay=_relays(config, has_relay=has_relay, makes=makes),
        turn=_turn(config),
    )


def _relays(config: ServerConfig, *, has_relay: bool, makes: bool) -> RelayCredentials | None:
    table = config.relay
    if table.urls and table.secret is None:
        raise ConfigError("relay.urls is given without relay.secret: the relays and management must share one")
    if table.weights and len(table.weights) != len(table.urls):
        raise ConfigError(f"relay.weights has {len(table.weights)} numbers, and relay.urls {len(table.urls)}")
    if any(weight < 0 for weight in table.weights):
        raise ConfigError(f"relay.weights = {list(table.weights)}: a weight is 0 or more")
    if table.token_lifetime < SHORTEST_LIFETIME:
        raise ConfigError(f"relay.token_lifetime = {table.token_lifetime}: must be at least {SHORTEST_LIFETIME}")
    if timedelta() < table.health_interval < SHORTEST_HEALTH_INTERVAL:
        least = f"must be at least {SHORTEST_HEALTH_INTERVAL}, or 0 for never"
        raise ConfigError(f"relay.health_interval = {table.health_interval}: {least}")
    if not table.urls and not has_relay:
        return None
    urls = tuple(dict.fromkeys(checked_relay_url(url, "relay.urls") for url in table.urls)) or (relay_url(config),)
    if table.weights and len(urls) != len(table.urls):
        raise ConfigError("relay.urls: one is given twice, so that relay.weights have no meaning")
    own = {relay_url(config)} if has_relay else set()
    return RelayCredentials(
        urls,
        next(iter(relay_secrets(config, makes=makes)), ""),
        table.token_lifetime,
        table.weights,
        naming=frozenset(url for url in urls if url in own),
    )


def _turn(config: ServerConfig) -> TurnCredentials | None:
    table = config.turn
    if not table.urls:
        return None
    urls = tuple(_checked_turn_url(url) for url in table.urls)
    if table.secret is None:
        if not table.user or table.password is None:
            raise ConfigError("turn.urls is given without turn.secret, nor turn.user and turn.password: give one")
        return TurnCredentials(urls, user=table.user, password=table.password.reveal().strip())
    if table.user or table.password is not None:
        raise ConfigError("turn.secret and turn.user exclude each other: give one")
    if table.lifetime < SHORTEST_LIFETIME:
        raise ConfigError(f"turn.lifetime = {table.lifetime}: must be at least {SHORTEST_LIFETIME}")
    if not (secret := table.secret.reveal().strip()):
        raise ConfigError("turn.secret: is empty; write what the TURN servers have, as coturn's static-auth-secret")
    return TurnCredentials(urls, secret, table.lifetime)


def _checked_stun_url(text: str) -> str:
    """As all clients read it: with its port (RFC 7064)."""
    match = STUN_URL.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 1) <= MAX_PORT:
        raise ConfigError(f"stun_urls: {text!r} is not a STUN server; write it like stun:stun.example.net:3478")
    return f"stun:{match['host']}:{match['port'] or 3478}"


def _checked_turn_url(text: str) -> str:
    """As all clients read it: with its port and transport (RFC 7065)."""
    match = TURN_URL.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 1) <= MAX_PORT:
        raise ConfigError(
            f"turn.urls: {text!r} is no TURN server; write it like turn:turn.example.net:3478?transport=udp"
        )
    tls = match["scheme"] == "turns"
    transport = match["transport"] or ("tcp" if tls else "udp")
    if tls and transport == "udp":
        raise ConfigError(f"turn.urls: {text!r}: TLS is spoken over TCP only; write transport=tcp")
    return f"{match['scheme']}:{match['host']}:{match['port'] or (5349 if tls else 3478)}?transport={transport}"
