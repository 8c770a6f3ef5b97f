"""All problems of a configuration at once, whoever finds them."""

from collections.abc import Callable

from meshloom.errors import ConfigError


def gather(*checks: Callable[[], object], source: str = "") -> None:
    """Makes all checks, also after one that finds a problem.

    Args:
        checks: Each raises ConfigError where something is wrong.
        source: Where the configuration came from.

    Raises:
        ConfigError: Everything that they found.
    """
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*dict.fromkeys(problems), source=source)
