"""``meshloom-management``: the control plane alone."""

import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge

from meshloom.errors import ConfigError
from meshloom.model.overlay import SMALLEST, IPAddress, objection
from meshloom.model.state import ENTITIES
from meshloom.service import Setup
from meshloom.store import StoreContext
from meshloom.transport import TransportContext
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig, checked_url, host_and_port
from meshloom_front.monitoring import new_registry
from meshloom_front.relays import checked_relay_url, relay_secrets, relay_url
from meshloom_front.running import Parts, serve
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.addresses import RelayCredentials, ServiceAddresses, TurnCredentials
from meshloom_management.api.authentication import Reason
from meshloom_management.api.config import ApiConfig, setup_is_open
from meshloom_management.api.failures import Failures
from meshloom_management.change_log import ChangeLog
from meshloom_management.container import ManagementContainer
from meshloom_management.local.commands import add_local_commands
from meshloom_management.local.requests import answer_line
from meshloom_management.local.socket import ControlSocket
from meshloom_management.nearby import resolved
from meshloom_management.operations.setup import HEADER
from meshloom_management.operations.setup_secret import SetupSecret, kept_secret
from meshloom_management.relay_watch import RelayWatch
from meshloom_management.rpc import Refusals, seen_nonces
from meshloom_management.server_key import prepare_data_dir, server_key
from meshloom_management.updates import Updates

_log = logging.getLogger(__name__)

KINDS = ("store", "transport")
SHORTEST_LIFETIME = timedelta(minutes=1)
MAX_PORT = 0xFFFF
TURN_URL = re.compile(
    r"(?P<scheme>turns?):(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    async with management(setup, parts):
        await serve(setup.config, parts)


@asynccontextmanager
async def management(
    setup: Setup[ServerConfig], parts: Parts, *, has_relay: bool = False
) -> AsyncIterator[ManagementContainer]:
    """The management service, on the server's port; its store is open while the body runs.

    With *has_relay* this server relays itself, so that peers may be told of it.
    """
    config = setup.config
    prepare_data_dir(config.data_dir)
    addresses = service_addresses(config, has_relay=has_relay)
    hosts = {(urlsplit(config.url).hostname or ""): "this server", **addresses.hosts}
    servers = await resolved(hosts)
    check_ranges(config, servers)
    new = NewAccounts(config.network_range, config.network_range_v6, config.default_policy, frozenset(servers))
    context = StoreContext(config.data_dir, ENTITIES)
    async with AsyncExitStack() as leaving:
        store = await leaving.enter_async_context(setup.chosen["store"].open(context))
        accounts = await leaving.enter_async_context(Accounts.open(store, new=new))
        key = server_key(config.data_dir)
        _warn_of_ranges(accounts, servers)
        is_open = config.setup_pat_enabled or setup_is_open(os.environ)
        secret = kept_secret(config.data_dir, needed=not is_open and not accounts.all())
        container = ManagementContainer(
            accounts=accounts,
            addresses=addresses,
            api_config=ApiConfig(setup_secret=secret, url=config.url, dns_domain=config.dns_domain, servers=hosts),
            failures=(failures := _failures(parts.registry)),
            key=key,
            seen=leaving.enter_context(seen_nonces(config.data_dir, key, accounts.peer_keys)),
            refusals=(refusals := _refusals(parts.registry)),
            dns_domain=config.dns_domain,
        )
        updates = container.updates()
        _count_peers(parts.registry, accounts, updates)
        parts.services.append(container.service().methods())
        parts.app = container.api()
        control = ControlSocket(config.data_dir, partial(answer_line, answer=container.desk().answer))
        parts.tasks += [updates.run, container.presence().run, failures.report, refusals.run, control.run]
        parts.stop.append(updates.stop)
        if (
            addresses.relay is not None
            and config.relay.urls
            and config.relay.health_interval
            and setup.several["transport"]
        ):
            parts.tasks.append(partial(_watch_relays, setup, parts, addresses.relay, accounts, updates))
        if not config.public_url:
            _log.warning("public_url is not given: machines are told to reach this server at %s", config.url)
        if not accounts.all():
            _tell_how_to_set_up(config.url, secret)
        yield container
        await container.presence().write()


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


def _warn_of_ranges(accounts: Accounts, servers: Mapping[IPAddress, str]) -> None:
    for state in accounts.all().values():
        for network in (state.account.settings.network_range, state.account.settings.network_range_v6):
            if why := objection(network, servers):
                _log.warning("machines refuse the network range %s of the account: %s: choose another", network, why)


def _tell_how_to_set_up(url: str, secret: SetupSecret | None) -> None:
    if secret is None:
        _log.warning("no account yet, and setup_pat_enabled: anybody who reaches %s/api/setup can own this server", url)
    else:
        about = "no account yet: make its owner with POST %s/api/setup and the field %s: %s"
        _log.warning(about, url, HEADER, secret.reveal())


def _failures(registry: CollectorRegistry) -> Failures:
    about = "Requests of the HTTP API without good credentials, by reason"
    counter = Counter("meshloom_api_failed_authentications", about, ["reason"], registry=registry)
    counts = {reason: counter.labels(reason.value) for reason in Reason}
    return Failures(count=lambda reason: counts[reason].inc())


def _refusals(registry: CollectorRegistry) -> Refusals:
    counter = Counter("meshloom_management_refused", "Calls of agents that were refused", ["reason"], registry=registry)
    return Refusals(lambda reason: counter.labels(reason).inc())


def _count_peers(registry: CollectorRegistry, accounts: Accounts, updates: Updates) -> None:
    connected = Gauge("meshloom_management_streams", "Peers connected", registry=registry)
    connected.set_function(lambda: len(updates))
    peers = Gauge("meshloom_management_peers", "Peers registered", registry=registry)
    peers.set_function(lambda: sum(len(state.peers) for state in accounts.all().values()))
    joined = Counter("meshloom_management_joined", "Peers that joined", registry=registry)
    removed = Counter("meshloom_management_removed", "Peers that were removed", registry=registry)
    accounts.witness(ChangeLog(joined.inc, removed.inc).written)


async def _watch_relays(
    setup: Setup[ServerConfig], parts: Parts, relays: RelayCredentials, accounts: Accounts, updates: Updates
) -> None:
    """Until cancelled; peers are told anew whenever a relay goes or comes back."""

    def changed(down: frozenset[str], naming: frozenset[str]) -> None:
        relays.down, relays.naming = down, naming
        updates.renew_config()

    async with AsyncExitStack() as stack:
        transports = [
            await stack.enter_async_context(chosen.open(TransportContext())) for chosen in setup.several["transport"]
        ]
        watch = RelayWatch(
            relays.urls,
            transports,
            lambda own: relays.probe_tokens(own, accounts.now()),
            changed,
            every=setup.config.relay.health_interval.total_seconds(),
            naming=relays.naming,
        )
        about = "Whether peers are told of a relay"
        up = Gauge("meshloom_management_relay_up", about, ["relay"], registry=parts.registry)
        for url in relays.urls:
            up.labels(url).set_function(partial(_is_up, watch, url))
        await watch.run()


def _is_up(watch: RelayWatch, url: str) -> float:
    return float(not watch.problems[url])


def service_addresses(config: ServerConfig, *, has_relay: bool = False) -> ServiceAddresses:
    """What peers are told of the other services.

    Raises:
        ConfigError: A URL is wrong, or relays are named whose secret is not.
    """
    signal = checked_url(config.signal_url, "signal_url") if config.signal_url else config.url
    host = host_and_port(config.url).rpartition(":")[0]
    return ServiceAddresses(
        signal=host_and_port(signal),
        signal_tls=urlsplit(signal).scheme == "https",
        stun=config.stun_urls or (f"stun:{host}:{config.stun_port}",),
        relay=_relays(config, has_relay),
        turn=_turn(config),
    )


def _relays(config: ServerConfig, has_relay: bool) -> RelayCredentials | None:
    table = config.relay
    if table.urls and table.secret is None:
        raise ConfigError("relay.urls is given without relay.secret: the relays and management must share one")
    if table.weights and len(table.weights) != len(table.urls):
        raise ConfigError(f"relay.weights has {len(table.weights)} numbers, and relay.urls {len(table.urls)}")
    if any(weight < 0 for weight in table.weights):
        raise ConfigError(f"relay.weights = {list(table.weights)}: a weight is 0 or more")
    if table.token_lifetime < SHORTEST_LIFETIME:
        raise ConfigError(f"relay.token_lifetime = {table.token_lifetime}: must be at least {SHORTEST_LIFETIME}")
    if not table.urls and not has_relay:
        return None
    urls = tuple(dict.fromkeys(checked_relay_url(url, "relay.urls") for url in table.urls)) or (relay_url(config),)
    if table.weights and len(urls) != len(table.urls):
        raise ConfigError("relay.urls: one is given twice, so that relay.weights have no meaning")
    own = {relay_url(config)} if has_relay else set()
    return RelayCredentials(
        urls,
        relay_secrets(config)[0],
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


main = server_commands("meshloom-management", "Accounts, policy, network maps: the control plane.", KINDS, run)
add_local_commands(main)
