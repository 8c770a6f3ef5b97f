"""``meshloom-stun``: the STUN service alone."""

from functools import partial

from meshloom.service import Setup
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_stun.service import StunPorts, run_stun


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    add_stun(parts, setup.config)
    await serve(setup.config, parts)


def add_stun(parts: Parts, config: ServerConfig) -> None:
    """The STUN service, on UDP ports of its own."""
    ports = StunPorts(config.stun_port, config.stun_alternate_port, config.stun_alternate_address)
    parts.tasks.append(partial(run_stun, ports, parts.registry))


main = server_commands("meshloom-stun", "Tells hosts their addresses as seen from outside.", (), run)
