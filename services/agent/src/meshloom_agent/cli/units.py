"""The agents' units on this machine: which agent each runs, and whether one may be written."""

import hashlib
import re
from pathlib import Path

import attrs

from meshloom_agent.cli.unit import words

UNITS = Path("/etc/systemd/system")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
MARK = "unit.sha256"
"""File in an agent's state folder: what ``service install`` wrote, so that an administrator's edits are seen."""


@attrs.frozen
class Installed:
    """An agent as a unit starts it.

    Args:
        state_dir: Folder of its key and state.
        address: Its socket, as ``unix:///path``.
    """

    state_dir: Path
    address: str


def agent_of(text: str) -> Installed | None:
    """Returns which agent a unit starts; None for a unit of something else."""
    line = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    given = words(line[1]) if line else []
    if given[1:3] != ["service", "run"]:
        return None
    options = dict(zip(given[3::2], given[4::2], strict=False))
    if not {"--state-dir", "--daemon-addr"} <= set(options):
        return None
    return Installed(Path(options["--state-dir"]), options["--daemon-addr"])


def agents(folder: Path) -> dict[str, Installed]:
    """Returns the agents of a folder of units, by the names of these."""
    found = {}
    for file in sorted(folder.glob("*.service")):
        try:
            installed = agent_of(file.read_text())
        except (OSError, UnicodeDecodeError):  # a link to nowhere, or not a unit of ours
            continue
        if installed is not None:
            found[file.name.removesuffix(".service")] = installed
    return found


def taken(name: str, wanted: Installed, others: dict[str, Installed]) -> str:
    """Returns which other unit has this agent's folder or socket; empty where none has."""
    for other, has in others.items():
        if other == name:
            continue
        if has.state_dir == wanted.state_dir:
            return f"{other}.service runs the agent of {has.state_dir}; give another --state-dir, or --name {other}"
        if has.address == wanted.address:
            return f"{other}.service runs an agent on {has.address}; give another --daemon-addr, or --name {other}"
    return ""


def objection(text: str, wanted: Installed, mark: str) -> str:
    """Returns why the text of a unit that is there must not be replaced silently; empty where it may.

    Args:
        text: Of the unit that is there.
        wanted: The agent of the new one.
        mark: What :func:`mark_of` gave for the text that was installed last.
    """
    there = agent_of(text)
    if there is None:
        return "is not the unit of an agent"
    if there != wanted:
        return f"runs another agent, that of {there.state_dir} on {there.address}; choose another --name"
    if mark_of(text) != mark:
        return "was changed since it was installed; such changes last in an override (systemctl edit)"
    return ""


def mark_of(text: str) -> str:
    """Returns what is kept of an installed text."""
    return hashlib.sha256(text.encode()).hexdigest()
