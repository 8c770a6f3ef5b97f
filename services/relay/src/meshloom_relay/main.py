"""``meshloom-relay``: the relay service alone."""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from meshloom.config.problems import gather
from meshloom.errors import ConfigError
from meshloom.service import Setup
from meshloom.transport import ServesDatagrams, ServesStreams, Transport, TransportContext
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.forwarded import Proxies
from meshloom_front.listening import listen
from meshloom_front.monitoring import new_registry
from meshloom_front.port import Upgrades
from meshloom_front.relays import relay_secrets, relay_url
from meshloom_front.running import Parts, serve
from meshloom_relay.limits import RelayLimits
from meshloom_relay.service import Refusal, Relay, accept_any

_log = logging.getLogger(__name__)

KINDS = ("transport",)
PATH = "/relay"
RENAMED = {
    "MESHLOOM_LISTEN": "NB_LISTEN_ADDRESS",
    "MESHLOOM_RELAY_PUBLIC_URL": "NB_EXPOSED_ADDRESS",
    "MESHLOOM_RELAY_SECRET": "NB_AUTH_SECRET",
    "MESHLOOM_LOG_LEVEL": "NB_LOG_LEVEL",
}


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    if not setup.config.public_url and not setup.config.relay.public_url:
        _log.warning("relay.public_url is not given: peers are told to reach this relay at %s", relay_url(setup.config))
    add_relay(parts, setup)
    await serve(setup.config, parts)


def add_relay(parts: Parts, setup: Setup[ServerConfig], refusal: Refusal = accept_any) -> Relay:
    """The relay, on the server's TCP port and on the UDP port of the same number.

    Args:
        parts: Of the server.
        setup: What the server is run with.
        refusal: Returns why a peer with a good token is not accepted; empty where it is.

    Raises:
        ConfigError: The URL, the secret or a bound is wrong.
    """
    config = setup.config
    relay = Relay(relay_url(config), relay_secrets(config), _limits(config), parts.registry, refusal=refusal)
    parts.tasks.append(relay.run)
    parts.drain.append(relay.drain)
    parts.opening.append(partial(_open_transports, parts, setup, relay))
    return relay


def check_relay(setup: Setup[ServerConfig]) -> None:
    """Checks what the configuration says of this service; no secret is made.

    Raises:
        ConfigError: Everything that is wrong.
    """
    config = setup.config
    gather(partial(_limits, config), partial(relay_url, config), partial(relay_secrets, config, makes=False))


def _limits(config: ServerConfig) -> RelayLimits:
    table = config.relay
    for name in ("max_peers", "max_waiting", "max_per_token", "queue", "total_queue", "total_watched"):
        if getattr(table, name) < 1:
            raise ConfigError(f"relay.{name} = {getattr(table, name)}: must be at least 1")
    for name in ("peer_rate", "total_rate"):
        if getattr(table, name) < 0:
            raise ConfigError(f"relay.{name} = {getattr(table, name)}: is a rate in bytes a second, or 0 for no bound")
    return RelayLimits(
        peers=table.max_peers,
        waiting=table.max_waiting,
        per_token=table.max_per_token,
        queue=table.queue,
        total_queue=table.total_queue,
        total_watched=table.total_watched,
        peer_rate=table.peer_rate,
        total_rate=table.total_rate,
    )


@asynccontextmanager
async def _open_transports(parts: Parts, setup: Setup[ServerConfig], relay: Relay) -> AsyncIterator[None]:
    """The first backend that serves on the port's connections, and the first that has a UDP port of its own."""
    config = setup.config
    has_datagrams = False
    proxies = Proxies(config.believed_proxies)
    context = TransportContext(origin=lambda address, said: proxies.origin(address, said.encode("latin-1", "replace")))
    async with AsyncExitStack() as stack:
        for chosen in setup.several["transport"]:
            transport: Transport = await stack.enter_async_context(chosen.open(context))
            if isinstance(transport, ServesStreams) and parts.upgrades is None:
                parts.upgrades = Upgrades(PATH, transport.stream_protocol(relay.accept))
            elif isinstance(transport, ServesDatagrams) and not has_datagrams:
                has_datagrams = True
                listening = stack.enter_context(listen(config.listen, "listen", socket.SOCK_DGRAM))
                await stack.enter_async_context(transport.serve(listening, _certificate(config), relay.accept))
            else:
                continue
            _log.info("relaying by %s as %s", chosen.backend.name, relay.url)
        yield


def _certificate(config: ServerConfig) -> Callable[[], tuple[bytes, bytes]] | None:
    """Reads the certificate and its key as they are now, for transports that do TLS themselves."""
    certificate, key = config.tls.certificate, config.tls.key
    if certificate is None or key is None:
        return None
    return lambda: (certificate.read_bytes(), key.read_bytes())


main = server_commands(
    "meshloom-relay",
    "Forwards packets of peers that have no direct path.",
    KINDS,
    run,
    checks=(check_relay,),
    renamed=RENAMED,
)
