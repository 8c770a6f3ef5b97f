"""The page of time limits has all of the agent's, the servers' and the transports', with their values."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from meshloom_agent.relays import links

PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/time-limits.md"
ROWS = re.findall(r"^\| `([\w.]+)` \| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
OTHERS = {
    "meshloom_agent.diagnostics.checks.CLOCK_WARNING",
    "meshloom_agent.diagnostics.checks.CLOCK_ERROR",
    "meshloom_agent.diagnostics.service.LEAST_INTERVAL",
    "meshloom_agent.management_client.LONGEST_ABSENCE",
    "meshloom_agent.mesh.lazy.KEEPALIVE_EVERY",
    "meshloom_agent.mesh.lazy.HANDSHAKE_EVERY",
    "meshloom_agent.path_settings.LONGEST_TIMER",
    "meshloom.protocol.ice.agent.USUALLY_ANSWERED",
    "meshloom_agent.rivalry.FACTOR",
    "meshloom_management.api.failures.EVERY",
    "meshloom_front.crowd.NEARLY_FULL",
    "meshloom_front.turns.ARREARS",
    "meshloom_front.turns.CREDIT",
    "meshloom_front.turns.NETWORK_PATIENCE",
    "meshloom_front.turns.SLICE",
    "meshloom_management.turns.SENDING",
    "meshloom_transport_quic.fairness.HEAVIEST",
    "meshloom_transport_quic.fairness.NEGLIGIBLE",
    "meshloom_transport_quic.turns.SLICE",
    "meshloom_transport_quic.half_open.BEGUN_RATE",
    "meshloom_transport_quic.link.NUDGE_GROWTH",
    "meshloom_transport_quic.link.STRANGERS_RATE",
}
"""Numbers for which nothing waits: bounds of what users give, what WireGuard does, rates, factors, CPU time."""
ALLOWANCES = re.compile(r"\.costs\.|(BURST|SHARE|TRICKLE|PER_SECOND)$")
"""And by their names, what may be had of CPU time or of messages, and what work is reckoned to cost."""


SLOW = 1.5
"""Seconds of a round trip on a slow line, and what TCP takes to say again what was lost there."""
AGAIN = 3.0


def test_a_suspected_relay_on_a_slow_line_has_the_time_to_answer_although_something_is_lost():
    assert links.answer_within(SLOW) >= SLOW + AGAIN
    assert links.answer_within(0.001) < 2, "on a fast one it is found out soon"


def test_a_slow_path_is_measured_before_its_transport_is_judged():
    assert links.measured_within(SLOW) >= 2 * 3 * 2 * SLOW


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


PACKAGES = (
    "meshloom.protocol",
    "meshloom_agent",
    "meshloom_front",
    "meshloom_management",
    "meshloom_relay",
    "meshloom_server",
    "meshloom_signal",
    "meshloom_stun",
    "meshloom_transport_picows",
    "meshloom_transport_quic",
    "meshloom_transport_websocket",
)


def modules():
    """Everything that waits for others."""
    yield importlib.import_module("meshloom.dialing")
    for name in PACKAGES:
        for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if ".testing" not in found.name and not found.name.endswith(".__main__"):
                yield importlib.import_module(found.name)


def constants():
    """All constants that are a number of seconds."""
    for module in modules():
        written = re.findall(r"^([A-Z][A-Z_, ]*)(?:: Final)? = ", source(module), re.MULTILINE)
        own = set(re.findall(r"[A-Z][A-Z_]+", " ".join(written)))
        for name in own:
            if isinstance(getattr(module, name), float):
                yield f"{module.__name__}.{name}"


def source(module):
    return Path(module.__file__).read_text()


def test_the_page_has_every_limit():
    limits = {each for each in constants() if each not in OTHERS and not ALLOWANCES.search(each)}
    assert limits <= {name for name, _ in ROWS}
