"""``meshloom-stun``: the STUN service alone."""

from functools import partial

from meshloom.service import Setup
from meshloom_front.commands import server_commands
from meshloom_front.config import ServerConfig
from meshloom_front.monitoring import new_registry
from meshloom_front.running import Parts, serve
from meshloom_stun.service import StunPorts, check_ports, run_stun


async def run(setup: Setup[ServerConfig]) -> None:
    """Serve until told to stop."""
    parts = Parts(new_registry())
    add_stun(parts, setup.config)
    await serve(setup.config, parts)


def add_stun(parts: Parts, config: ServerConfig) -> None:
    """The STUN service, on UDP ports of its own."""
    parts.tasks.append(partial(run_stun, _ports(config), parts.registry))


def check_stun(setup: Setup[ServerConfig]) -> None:
    """Checks what the configuration says of this service.

    Raises:
        ConfigError: It cannot be.
    """
    check_ports(_ports(setup.config))


def _ports(config: ServerConfig) -> StunPorts:
    return StunPorts(config.stun_port, config.stun_alternate_port, config.stun_alternate_address)


main = server_commands(
    "meshloom-stun", "Tells hosts their addresses as seen from outside.", (), run, checks=(check_stun,)
)
