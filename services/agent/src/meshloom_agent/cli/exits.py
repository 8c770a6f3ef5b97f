"""Exit codes, for scripts."""

import sys
from typing import NoReturn

import click

OK = 0
FAILED = 1
USAGE = 2
NO_DAEMON = 3
LOGIN_NEEDED = 4
TIMEOUT = 5
WARNED = 6


def fail(code: int, text: str) -> NoReturn:
    """Say what is wrong, and end."""
    click.echo(f"error: {text}", err=True)
    sys.exit(code)
