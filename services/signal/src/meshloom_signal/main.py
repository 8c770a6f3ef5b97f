"""``meshloom-signal``: the signal service alone."""

from meshloom.service import Setup
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_signal.service import SignalService


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    add_signal(parts)
    await serve(setup.config, parts)


def add_signal(parts: Parts) -> None:
    """The signal service, on the server's port."""
    service = SignalService(parts.registry)
    parts.services.append(service.methods())
    parts.stop.append(service.stop)


main = server_commands("meshloom-signal", "Forwards sealed connection offers between agents.", (), run)
