"""``meshloom-management``: the control plane alone."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from prometheus_client import Gauge

from meshloom.errors import ConfigError
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
from meshloom_management.addresses import RelayCredentials, ServiceAddresses
from meshloom_management.api.config import ApiConfig, setup_tokens_enabled
from meshloom_management.container import ManagementContainer
from meshloom_management.relay_watch import RelayWatch
from meshloom_management.server_key import prepare_data_dir, server_key
from meshloom_management.updates import Updates

_log = logging.getLogger(__name__)

KINDS = ("store", "transport")
SHORTEST_LIFETIME = timedelta(minutes=1)


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
    new = NewAccounts(config.network_range, config.network_range_v6, config.default_policy)
    context = StoreContext(config.data_dir, ENTITIES)
    async with setup.chosen["store"].open(context) as store, Accounts.open(store, new=new) as accounts:
        addresses = service_addresses(config, has_relay=has_relay)
        container = ManagementContainer(
            accounts=accounts,
            addresses=addresses,
            api_config=ApiConfig(
                setup_tokens=config.setup_pat_enabled or setup_tokens_enabled(os.environ), dns_domain=config.dns_domain
            ),
            key=server_key(config.data_dir),
            address_of=parts.address_of,
            dns_domain=config.dns_domain,
        )
        updates = container.updates()
        gauge = Gauge("meshloom_management_streams", "Peers connected", registry=parts.registry)
        gauge.set_function(lambda: len(updates))
        parts.handlers.append(container.service().handlers())
        parts.app = container.api()
        parts.tasks += [updates.run, container.presence().run]
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
            _log.info("no account yet: make its owner with POST %s/api/setup", config.url)
        yield container
        await container.presence().write()


async def _watch_relays(
    setup: Setup[ServerConfig], parts: Parts, relays: RelayCredentials, accounts: Accounts, updates: Updates
) -> None:
    """Until cancelled; peers are told anew whenever a relay goes or comes back."""

    def changed(down: frozenset[str]) -> None:
        relays.down = down
        updates.renew_config()

    async with AsyncExitStack() as stack:
        transports = [
            await stack.enter_async_context(chosen.open(TransportContext())) for chosen in setup.several["transport"]
        ]
        watch = RelayWatch(
            relays.urls,
            transports,
            lambda: relays.token(accounts.now()),
            changed,
            every=setup.config.relay.health_interval.total_seconds(),
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
    return RelayCredentials(urls, relay_secrets(config)[0], table.token_lifetime, table.weights)


main = server_commands("meshloom-management", "Accounts, policy, network maps: the control plane.", KINDS, run)
