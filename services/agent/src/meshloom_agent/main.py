"""The daemon's process."""

import logging
import signal
from pathlib import Path

import anyio

from meshloom.service import read_setup
from meshloom_agent.config import KINDS, AgentConfig
from meshloom_agent.container import AgentContainer
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.files import StateDir


def run_daemon(state_dir: Path, socket: Path, config: Path | None) -> None:
    """Run until SIGTERM or SIGINT; the tunnel goes with it, and comes back with the next start.

    Raises:
        MeshError: It cannot start, saying why.
    """
    setup = read_setup(AgentConfig, KINDS, config)
    logging.basicConfig(level=setup.config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    container = AgentContainer(files=StateDir(state_dir), tunnel=setup.chosen["tunnel"])

    async def run() -> None:
        daemon = container.daemon()
        async with daemon.running(), open_socket(daemon, socket, setup.config.socket_group):
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    return

    anyio.run(run)  # not on uvloop: pyroute2 needs a loop that opens netlink sockets
