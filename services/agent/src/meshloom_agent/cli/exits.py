"""Exit codes, for scripts."""

import sys
from typing import NoReturn

from meshloom.terminal import say_error

OK = 0
FAILED = 1
USAGE = 2
NO_DAEMON = 3
LOGIN_NEEDED = 4
TIMEOUT = 5
WARNED = 6


def fail(code: int, error: BaseException | str) -> NoReturn:
    """Say what is wrong, and end."""
    say_error(error)
    sys.exit(code)
