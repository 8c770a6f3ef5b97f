"""The page of time limits has all of the agent's, with their values."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import meshloom_agent

PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/time-limits.md"
ROWS = re.findall(r"^\| `([\w.]+)` \| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
OTHERS = {
    "meshloom_agent.diagnostics.checks.CLOCK_WARNING",
    "meshloom_agent.diagnostics.checks.CLOCK_ERROR",
    "meshloom_agent.diagnostics.service.LEAST_INTERVAL",
    "meshloom_agent.mesh.lazy.KEEPALIVE_EVERY",
    "meshloom_agent.mesh.lazy.HANDSHAKE_EVERY",
    "meshloom_agent.path_settings.LONGEST_TIMER",
}
"""Seconds, too, but nothing waits for so long: bounds of what users give, and what WireGuard does."""


def value(name):
    """Of a constant, or the default of a field."""
    module, _, constant = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), constant)
    except ModuleNotFoundError:
        module, _, kind = module.rpartition(".")
        return getattr(getattr(importlib.import_module(module), kind)(), constant)


@pytest.mark.parametrize(("name", "seconds"), ROWS)
def test_each_limit_is_as_the_page_says(name, seconds):
    assert value(name) == float(seconds)


def constants():
    """All constants of the agent that are a number of seconds."""
    for found in pkgutil.walk_packages(meshloom_agent.__path__, "meshloom_agent."):
        if ".testing" in found.name:
            continue
        module = importlib.import_module(found.name)
        own = set(re.findall(r"[A-Z][A-Z_]+", "".join(re.findall(r"^[A-Z][A-Z_, ]* = ", source(module), re.MULTILINE))))
        for name in own:
            if isinstance(getattr(module, name), float):
                yield f"{found.name}.{name}"


def source(module):
    return Path(module.__file__).read_text()


def test_the_page_has_every_limit_of_the_agent():
    assert {each for each in constants() if each not in OTHERS} <= {name for name, _ in ROWS}
