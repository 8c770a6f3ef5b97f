"""The levels of all programs' logs: one list, for configuration, options and commands alike."""

import logging
import sys
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
OURS = "meshloom"
"""Packages of which the names begin so are ours."""
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


def set_levels(ours: int, others: int) -> None:
    """Makes our loggers begin at one level, and all others at the other, but never below WARNING.

    Libraries write what passes through them into their debugging: hpack the headers of every request, and the tokens in
    these. That is not theirs to tell, whatever the level of ours is.
    """
    logging.getLogger().setLevel(max(others, logging.WARNING))
    for name in {module.partition(".")[0] for module in sys.modules}:
        if name.startswith(OURS):
            logging.getLogger(name).setLevel(ours)
