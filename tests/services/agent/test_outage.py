"""The log tells each cause of an outage once, and its end."""

import logging

import pytest

from meshloom_agent.outage import MOST_CAUSES, Outage
from meshloom_agent.report import CONNECTED

LOG = logging.getLogger("meshloom_agent.test_outage")


@pytest.fixture
def told(caplog):
    """What is logged from INFO on."""
    caplog.set_level(logging.INFO, "meshloom_agent")
    return lambda: [f"{each.levelname} {each.message}" for each in caplog.records if each.levelno >= logging.INFO]


def test_the_same_cause_is_told_once_and_the_end_too(told):
    server = Outage("signal at https://mesh.test", LOG)
    server.back(0.0)
    server.back(1.0)
    for now in (10.0, 14.0, 18.0):
        server.failed("connection refused", now)
    server.failed("its name has no address", 20.0)
    server.failed("connection refused", 24.0)
    server.back(30.0, "over quic")
    server.failed("connection refused", 40.0)
    assert told() == [
        "INFO signal at https://mesh.test is connected",
        "WARNING signal at https://mesh.test is away: connection refused; trying again",
        "WARNING signal at https://mesh.test is away: its name has no address; trying again",
        "INFO signal at https://mesh.test is back after 20 s, over quic",
        "WARNING signal at https://mesh.test is away: connection refused; trying again",
    ]


def test_causes_that_differ_each_time_do_not_fill_the_log(told):
    server = Outage("a relay", LOG)
    for number in range(1000):
        server.failed(f"from port {number}", float(number))
    assert len(told()) == MOST_CAUSES


@pytest.mark.anyio
async def test_the_agent_says_once_that_its_servers_are_away_and_that_they_are_back(
    agents, management, signal, until, told
):
    one = agents(0)
    await until(lambda: one.report.state == CONNECTED)
    await signal.stop()
    await management.stop()
    await until(lambda: not one.report.management.connected and not one.report.signal.connected)
    await management.start()
    await signal.start()
    await until(lambda: one.report.state == CONNECTED, 30)
    for name, url in (("management", management.url), ("signal", f"http://{signal.target}")):
        assert sum(f"{name} at {url} is back after" in line for line in told()) == 1, told()
        lines = [line for line in told() if f"{name} at {url} is away" in line]
        assert len(lines) == len(set(lines)) > 0
