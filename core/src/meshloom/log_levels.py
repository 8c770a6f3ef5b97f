"""The levels of all programs' logs: one list, for configuration, options and commands alike."""

import logging
from types import MappingProxyType

from meshloom.errors import ConfigError

LEVELS = MappingProxyType(
    {
        "trace": logging.DEBUG,
        "debug": logging.DEBUG,
        "info": logging.INFO,
        "warning": logging.WARNING,
        "warn": logging.WARNING,
        "error": logging.ERROR,
        "fatal": logging.CRITICAL,
        "panic": logging.CRITICAL,
    }
)
"""Numbers of :mod:`logging` by name; ``trace``, ``warn`` and ``panic`` are what NetBird's programs are told."""
LISTED = "debug, info, warning, error or fatal"


def level_number(name: str, key: str = "log_level") -> int:
    """Returns the number of a level, which is written in any case.

    Args:
        name: Of the level.
        key: Names where it was given.

    Raises:
        ConfigError: There is no such level.
    """
    number = LEVELS.get(name.lower())
    if number is None:
        raise ConfigError(f"{key} = {name!r}: no such level; write {LISTED}")
    return number
