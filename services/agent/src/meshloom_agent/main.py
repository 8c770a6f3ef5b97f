"""The daemon's process."""

import logging
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from meshloom.notify import tell_ready
from meshloom.transport import TransportContext
from meshloom_agent.checked import checked_environment, extra_certificates, read_checked
from meshloom_agent.container import AgentContainer
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.diagnostics.logs import DaemonLogs
from meshloom_agent.files import StateDir
from meshloom_agent.relays import NamedTransport

_log = logging.getLogger(__name__)


def run_daemon(
    state_dir: Path,
    socket: Path,
    config: Path | None = None,
    log_level: str = "",
    log_file: Path | None = None,
    *,
    metrics: str = "",
) -> None:
    """Run until SIGTERM or SIGINT; the tunnel goes with it, and comes back with the next start.

    SIGHUP opens the log file again.

    Raises:
        MeshError: It cannot start, saying why.
    """
    signal.signal(signal.SIGHUP, lambda *_: None)  # ends nothing, not even before there is a log to open again
    setup = read_checked(config)
    logs = DaemonLogs()
    logs.install(log_level or setup.config.log_level, log_file)
    files = StateDir(state_dir)
    roots = extra_certificates(setup.config.extra_roots)
    environment = checked_environment(setup.config, os.environ)

    async def run() -> None:
        async with AsyncExitStack() as opened:
            signals = opened.enter_context(anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
            context = TransportContext(extra_roots=roots, proxy=proxy(setup.config.proxy))
            transports = [
                NamedTransport(
                    each.backend.name, await opened.enter_async_context(each.open(context)), bool(context.proxy)
                )
                for each in setup.several["transport"]
            ]
            if not transports:
                _log.warning("no transport can run here: relays cannot be used, see `meshloom plugins`")
            container = AgentContainer(
                files=files,
                tunnel=setup.chosen["tunnel"],
                extra_roots=roots,
                transports=transports,
                environment=environment,
            )
            daemon = container.daemon()
            if address := metrics or setup.config.metrics:
                from meshloom_agent.diagnostics.metrics import open_metrics

                await opened.enter_async_context(open_metrics(daemon, address))
            async with daemon.running(), open_socket(daemon, socket, setup.config.socket_group, logs):
                tell_ready()
                async for number in signals:
                    if number is not signal.SIGHUP:
                        return
                    logs.reopen()

    with files.held():
        anyio.run(run)  # not on uvloop: pyroute2 needs a loop that opens netlink sockets


def proxy(configured: str, environment: Mapping[str, str] = os.environ) -> str:
    """The HTTP proxy for relays: as configured, else as the environment says; empty for none."""
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    return configured or next((environment[name] for name in names if environment.get(name)), "")
