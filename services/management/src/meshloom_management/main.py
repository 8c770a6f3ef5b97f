"""``meshloom-management``: the control plane alone."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from prometheus_client import Gauge

from meshloom.model.state import ENTITIES
from meshloom.service import Setup
from meshloom.store import StoreContext
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig, checked_url, host_and_port
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_management.accounts import Accounts, NewAccounts
from meshloom_management.addresses import RelayCredentials, ServiceAddresses
from meshloom_management.api.config import ApiConfig, setup_tokens_enabled
from meshloom_management.container import ManagementContainer
from meshloom_management.server_key import prepare_data_dir, server_key

_log = logging.getLogger(__name__)

KINDS = ("store",)


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    async with management(setup, parts):
        await serve(setup.config, parts)


@asynccontextmanager
async def management(setup: Setup[ServerConfig], parts: Parts) -> AsyncIterator[ManagementContainer]:
    """The management service, on the server's port; its store is open while the body runs."""
    config = setup.config
    prepare_data_dir(config.data_dir)
    new = NewAccounts(config.network_range, config.network_range_v6, config.default_policy)
    context = StoreContext(config.data_dir, ENTITIES)
    async with setup.chosen["store"].open(context) as store, Accounts.open(store, new=new) as accounts:
        container = ManagementContainer(
            accounts=accounts,
            addresses=service_addresses(config),
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
        if not config.public_url:
            _log.warning("public_url is not given: machines are told to reach this server at %s", config.url)
        if not accounts.all():
            _log.info("no account yet: make its owner with POST %s/api/setup", config.url)
        yield container
        await container.presence().write()


def service_addresses(config: ServerConfig) -> ServiceAddresses:
    """What peers are told of the other services."""
    signal = checked_url(config.signal_url, "signal_url") if config.signal_url else config.url
    host = host_and_port(config.url).rpartition(":")[0]
    relay = None
    if config.relay.urls and config.relay.secret:
        relay = RelayCredentials(config.relay.urls, config.relay.secret.reveal())
    return ServiceAddresses(
        signal=host_and_port(signal),
        signal_tls=urlsplit(signal).scheme == "https",
        stun=config.stun_urls or (f"stun:{host}:{config.stun_port}",),
        relay=relay,
    )


main = server_commands("meshloom-management", "Accounts, policy, network maps: the control plane.", KINDS, run)
