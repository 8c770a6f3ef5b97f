"""Variables of the environment that begin as ours do, and that nothing reads: a slip of the pen that must be heard."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from meshloom.config.keys import PREFIX
from meshloom.config.variables import VARIABLES

OF_TESTS = ("MESHLOOM_BENCH_", "MESHLOOM_KERNEL_VM", "MESHLOOM_NAMESPACES", "MESHLOOM_NETBIRD_", "MESHLOOM_PATIENCE")
"""Beginnings of what the project's own tests and benchmarks read, in the environment of programs that they start."""
OF_CONTAINERS = re.compile(
    r"MESHLOOM(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|ENV_\w+|NAME)"
)
"""Kubernetes and Docker tell containers of a service that is called ``meshloom-...`` by such variables."""
OF_A_CONTAINERS_PORT = re.compile(r"(tcp|udp|sctp)://")


def unread(environment: Mapping[str, str], known: Iterable[str], tables: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each variable that no Meshloom program reads, with the nearest that one does.

    A variable of another program is tolerated: servers and agents may share one file of variables.

    Args:
        environment: All variables.
        known: Those that this program reads, its plugins' included.
        tables: The configuration file, whose secrets may name variables of their own.
    """
    read = {*known, *VARIABLES, *_named(tables)}
    return [
        f"{name}: nothing reads this variable; {_fix(name, read)}"
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX)
        and name not in read
        and not name.startswith(OF_TESTS)
        and not OF_CONTAINERS.fullmatch(name)
        and not (name.endswith("_PORT") and OF_A_CONTAINERS_PORT.match(value))
    ]


def _fix(name: str, read: Iterable[str]) -> str:
    rest = sorted(each.removeprefix(PREFIX) for each in read)
    near = get_close_matches(name.removeprefix(PREFIX), rest, 1, 0.7)
    return f"did you mean {PREFIX}{near[0]}?" if near else "take it away, or see the reference of the configuration"


def _named(value: Any) -> set[str]:
    """Returns the variables that secrets of the file name."""
    if not isinstance(value, Mapping):
        return set()
    own = {value["env"]} if len(value) == 1 and isinstance(value.get("env"), str) else set()
    return own.union(*map(_named, value.values()))
