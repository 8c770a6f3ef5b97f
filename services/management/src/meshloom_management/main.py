"""``meshloom-management``: the control plane alone."""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from meshloom.model.overlay import IPAddress, objection
from meshloom.model.state import ENTITIES
from meshloom.service import Setup
from meshloom.store import StoreContext
from meshloom.transport import TransportContext
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.addresses import RelayCredentials
from meshloom_management.api.authentication import Reason
from meshloom_management.api.config import ApiConfig, setup_is_open
from meshloom_management.api.failures import Failures
from meshloom_management.change_log import ChangeLog
from meshloom_management.configured import check_management, check_ranges, servers_of, service_addresses
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
    hosts = servers_of(config, addresses)
    servers = await resolved(hosts)
    check_ranges(config, servers)
    new = NewAccounts(config.network_range, config.network_range_v6, config.default_policy, frozenset(servers))
    context = StoreContext(config.data_dir, ENTITIES)
    async with AsyncExitStack() as leaving:
        store = await leaving.enter_async_context(setup.chosen["store"].open(context))
        accounts = await leaving.enter_async_context(Accounts.open(store, new=new))
        is_known = bool(accounts.all())
        key = server_key(config.data_dir, is_known=is_known)
        _warn_of_ranges(accounts, servers)
        is_open = config.setup_pat_enabled or setup_is_open(os.environ)
        secret = kept_secret(config.data_dir, needed=not is_open and not accounts.all())
        container = ManagementContainer(
            accounts=accounts,
            addresses=addresses,
            api_config=ApiConfig(setup_secret=secret, url=config.url, dns_domain=config.dns_domain, servers=hosts),
            failures=(failures := _failures(parts.registry)),
            key=key,
            seen=leaving.enter_context(seen_nonces(config.data_dir, key, accounts.peer_keys, is_expected=is_known)),
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


def _warn_of_ranges(accounts: Accounts, servers: Mapping[IPAddress, str]) -> None:
    for state in accounts.all().values():
        for network in (state.account.settings.network_range, state.account.settings.network_range_v6):
            if why := objection(network, servers):
                _log.warning("machines refuse the network range %s of the account: %s: choose another", network, why)


def _tell_how_to_set_up(url: str, secret: SetupSecret | None) -> None:
    if secret is None:
        _log.warning("no account yet, and setup_pat_enabled: anybody who reaches %s/api/setup can own this server", url)
    else:
        about = "no account yet: make its owner with `meshloom-server owner create`, or POST %s/api/setup with %s: %s"
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


main = server_commands(
    "meshloom-management",
    "Accounts, policy, network maps: the control plane.",
    KINDS,
    run,
    checks=(check_management,),
)
add_local_commands(main)
