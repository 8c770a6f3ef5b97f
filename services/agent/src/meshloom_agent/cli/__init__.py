"""The command line ``meshloom``. Imports are late, since every command pays for them."""

from meshloom_agent.cli.main import main

__all__ = ["main"]
