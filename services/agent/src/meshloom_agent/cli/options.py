"""Options that several commands have."""

from collections.abc import Callable
from typing import Any

import click

from meshloom.placeholder import placeholder
from meshloom_agent.cli.client import DEFAULT_SOCKET

STATE_DIR = "/var/lib/meshloom"


def option(*names: str, **more: Any) -> Callable[[Any], Any]:
    """An option that the environment may give, too: by our name or by NetBird's."""
    long = next(name for name in names if name.startswith("--"))[2:].partition("/")[0].replace("-", "_").upper()
    if "type" not in more and not more.get("is_flag") and not any("/" in name for name in names):
        more.setdefault("metavar", placeholder(long.lower()))
    return click.option(*names, envvar=[f"MESHLOOM_{long}", f"NB_{long}"], show_envvar=True, **more)


address_option = option("--daemon-addr", default=DEFAULT_SOCKET, help="The daemon's socket.", show_default=True)
anonymize_option = option("-A", "--anonymize", is_flag=True, help="Replace names, addresses and domains.")
json_option = click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
state_dir_option = option("--state-dir", default=STATE_DIR, show_default=True, help="Folder of the daemon's state.")
