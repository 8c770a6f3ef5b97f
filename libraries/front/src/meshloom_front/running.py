"""A server from its parts: the port with what answers on it, monitoring, signals of the operating system."""

import contextlib
import logging
import resource
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
import attrs
from prometheus_client import CollectorRegistry

from meshloom.errors import MeshError
from meshloom.notify import tell_ready
from meshloom_front.callers import STANDING_SHARE, Callers
from meshloom_front.config import ServerConfig
from meshloom_front.forwarded import Proxies
from meshloom_front.http import http_protocol
from meshloom_front.listening import listen
from meshloom_front.memory import pass_over_what_stays
from meshloom_front.monitoring import open_monitoring
from meshloom_front.port import PortLimits, SharedTCPPort, Upgrades, open_port
from meshloom_front.rpc.call import Methods
from meshloom_front.rpc.server import RPC
from meshloom_front.tls.certificates import Certificates, certificates

_log = logging.getLogger(__name__)

MOST_FILES = 65_536
GRACE = 2.0
"""Seconds that calls have to end in when the server stops."""


@attrs.define
class Parts:
    """What a server is made of.

    Args:
        registry: Metrics of all parts.
        services: Of gRPC; none for a server without a TCP port.
        app: ASGI application of HTTP.
        tasks: Run as long as the server.
        stop: Called first when the server stops: open streams are told to end.
        drain: Then waited for, all at once, while what is open still is.
        opening: Entered before the port accepts, and left after it has closed.
        upgrades: What takes over connections of the port that ask for its path.
        standing_share: Part of one core that callers may take whom a service has accepted and nobody knows.
    """

    registry: CollectorRegistry
    services: list[Methods] = attrs.field(factory=list)
    app: Any = None
    tasks: list[Callable[[], Coroutine[Any, Any, None]]] = attrs.field(factory=list)
    stop: list[Callable[[], None]] = attrs.field(factory=list)
    drain: list[Callable[[], Coroutine[Any, Any, None]]] = attrs.field(factory=list)
    opening: list[Callable[[], AbstractAsyncContextManager[None]]] = attrs.field(factory=list)
    upgrades: Upgrades | None = None
    standing_share: float = STANDING_SHARE


async def serve(config: ServerConfig, parts: Parts) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the certificates again."""
    renewed = certificates(config.tls)
    ready = False
    stop_accepting: Callable[[], None] | None = None
    rpc = RPC(parts.services, Callers(standing_share=parts.standing_share))
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        for task in parts.tasks:
            tasks.start_soon(task)
        if config.metrics:
            listening = listen(config.metrics, "metrics")
            await stack.enter_async_context(open_monitoring(listening, parts.registry, lambda: ready))
        for opening in parts.opening:
            await stack.enter_async_context(opening())
        if parts.services or parts.app or parts.upgrades is not None:
            limits = PortLimits.that_fit(_most_files())
            rpc.callers.proxies = Proxies(config.believed_proxies)
            port = SharedTCPPort(http_protocol(parts.app or _nothing), rpc, limits, parts.upgrades)
            socket = listen(config.listen, "listen")
            stop_accepting = await stack.enter_async_context(
                open_port(port, socket, renewed.context if renewed else None)
            )
            _log.info("listening on %s, reached as %s", config.listen, config.url)
        pass_over_what_stays()
        ready = True
        tell_ready()
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number is not signal.SIGHUP:
                    break
                _reload(renewed)
        ready = False
        _log.info("stopping")
        if stop_accepting is not None:
            stop_accepting()
        for stop in parts.stop:
            stop()
        async with anyio.create_task_group() as drains:  # while the port still carries what streams and peers are told
            for drain in parts.drain:
                drains.start_soon(drain)
            drains.start_soon(rpc.stop, GRACE)


def _most_files() -> int:
    """How many files this process may have open, after asking for as many as it can get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def _reload(renewed: Certificates | None) -> None:
    if renewed is None:
        return
    try:
        renewed.reload()
        _log.info("certificates read again")
    except MeshError as error:
        _log.error("%s; the old certificate stays in use", error)


async def _nothing(_scope: Any, _receive: Any, send: Any) -> None:
    """HTTP on a port that is gRPC's alone."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"404 page not found\n"})
