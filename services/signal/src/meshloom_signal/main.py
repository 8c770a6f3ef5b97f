"""``meshloom-signal``: the signal service alone."""

from typing import Final
from urllib.parse import urlsplit

from meshloom.service import Setup
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_signal.peers import Peers
from meshloom_signal.service import SignalService

STANDING_SHARE: Final = 0.6
"""Part of one core that all agents together may take: alone, the service knows none of them, and does nothing else."""


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry(), standing_share=STANDING_SHARE)
    add_signal(parts, setup.config)
    await serve(setup.config, parts)


def add_signal(parts: Parts, config: ServerConfig, peers: Peers | None = None) -> SignalService:
    """Adds the signal service to the server's port; *peers* may use it, everybody where these are None."""
    behind_proxy = urlsplit(config.signal_url or config.url).scheme == "https" and not config.tls.certificate
    service = SignalService(parts.registry, peers, behind_proxy=behind_proxy)
    parts.services.append(service.methods())
    parts.stop.append(service.stop)
    return service


main = server_commands("meshloom-signal", "Forwards sealed connection offers between agents.", (), run)
