"""The daemon's process."""

import logging
import signal
import ssl
from pathlib import Path

import anyio

from meshloom.errors import ConfigError
from meshloom.notify import tell_ready
from meshloom.service import read_setup
from meshloom_agent.config import KINDS, AgentConfig
from meshloom_agent.container import AgentContainer
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.files import StateDir

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run_daemon(
    state_dir: Path, socket: Path, config: Path | None = None, log_level: str = "", log_file: Path | None = None
) -> None:
    """Run until SIGTERM or SIGINT; the tunnel goes with it, and comes back with the next start.

    Raises:
        MeshError: It cannot start, saying why.
    """
    setup = read_setup(AgentConfig, KINDS, config)
    level = log_level or setup.config.log_level
    if level.upper() not in logging.getLevelNamesMapping():
        raise ConfigError(f"log_level = {level!r}: no such level; write debug, info, warning or error")
    try:
        logging.basicConfig(level=level.upper(), format=LOG_FORMAT, filename=log_file)
    except OSError as error:
        raise ConfigError(f"--log-file {log_file}: cannot be written: {error.strerror}") from error
    files = StateDir(state_dir)
    container = AgentContainer(
        files=files, tunnel=setup.chosen["tunnel"], extra_roots=_certificates(setup.config.extra_roots)
    )

    async def run() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            daemon = container.daemon()
            async with daemon.running(), open_socket(daemon, socket, setup.config.socket_group):
                tell_ready()
                async for _ in signals:
                    return

    with files.held():
        anyio.run(run)  # not on uvloop: pyroute2 needs a loop that opens netlink sockets


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
