"""The daemon's process."""

import logging
import os
import signal
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from meshloom.errors import ConfigError
from meshloom.notify import tell_ready
from meshloom.service import read_setup
from meshloom.transport import TransportContext
from meshloom_agent.config import KINDS, AgentConfig
from meshloom_agent.container import AgentContainer
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.diagnostics.logs import DaemonLogs
from meshloom_agent.files import AgentSettings, StateDir
from meshloom_agent.path_settings import in_environment, mesh_options
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
    setup = read_setup(AgentConfig, KINDS, config)
    logs = DaemonLogs()
    logs.install(log_level or setup.config.log_level, log_file)
    files = StateDir(state_dir)
    roots = _certificates(setup.config.extra_roots)
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


def checked_environment(config: AgentConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """What the daemon goes by: its environment, and the configuration's word on the router's port.

    Raises:
        ConfigError: A variable's value cannot be.
    """
    made = dict(environment)
    if not config.port_mapping:
        made["NB_DISABLE_NAT_MAPPER"] = "true"
    mesh_options(in_environment(AgentSettings(), made), made)
    return made


def _certificates(file: str) -> bytes:
    if not file:
        return b""
    try:
        data = Path(file).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"extra_roots = {file!r}: holds no certificates; they are PEM texts") from error
    except OSError as error:
        raise ConfigError(f"extra_roots = {file!r}: cannot be read: {error.strerror}") from error
    return data
