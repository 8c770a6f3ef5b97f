"""One validation of a server's configuration: ``config check`` tells what it finds, and the start refuses the same.

What only the start can find is no matter of the file: a port that is taken, a full disk, a damaged store.
"""

from collections.abc import Callable, Sequence
from functools import partial

from meshloom.config.problems import gather
from meshloom.errors import ConfigError
from meshloom.log_levels import level_number
from meshloom.service import Setup
from meshloom_front.config import ServerConfig, checked_url
from meshloom_front.listening import check_address, parse_address
from meshloom_front.tls.certificates import certificates

EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
"""Hosts that mean every address of this one."""

Check = Callable[[Setup[ServerConfig]], None]


def check_setup(setup: Setup[ServerConfig], checks: Sequence[Check]) -> None:
    """Checks what all servers have in common, and what one of them looks at itself.

    Raises:
        ConfigError: Everything that is wrong.
    """
    gather(partial(_check_common, setup.config), *(partial(check, setup) for check in checks), source=setup.source)


def _check_common(config: ServerConfig) -> None:
    gather(
        partial(level_number, config.log_level),
        partial(check_address, config.listen, "listen"),
        *((partial(check_address, config.metrics, "metrics"),) if config.metrics else ()),
        lambda: config.url,
        *((partial(checked_url, config.signal_url, "signal_url"),) if config.signal_url else ()),
        partial(certificates, config.tls),
        partial(_check_apart, config),
    )


def _check_apart(config: ServerConfig) -> None:
    if not config.metrics:
        return
    (host, port), (other, same) = parse_address(config.listen, "listen"), parse_address(config.metrics, "metrics")
    if port and port == same and (host == other or not EVERYWHERE.isdisjoint((host, other))):
        raise ConfigError(f"metrics = {config.metrics!r}: is the port of listen, too; choose another")
