"""The levels of logs: every program takes the same ones."""

import importlib
import logging

import click
import pytest

from meshloom.errors import ConfigError
from meshloom.log_levels import LEVELS, LISTED, level_number
from meshloom.rpc import daemon_pb2
from meshloom_agent.cli.diagnose import log
from meshloom_agent.diagnostics.logs import DaemonLogs


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_is_written_in_any_case(name):
    assert level_number(name.upper()) == level_number(name) == LEVELS[name]


@pytest.mark.parametrize("name", ["", "loud", "10", "notset", "critical"])
def test_another_is_refused_with_the_list(name):
    with pytest.raises(ConfigError, match=f"log_level = {name!r}: no such level; write {LISTED}"):
        level_number(name)
    with pytest.raises(ConfigError, match=f"write {LISTED}"):
        DaemonLogs().install(name)
    with pytest.raises(ConfigError, match=f"write {LISTED}"):
        importlib.import_module("meshloom_front.commands")._log_from(name)


def test_the_command_that_changes_it_takes_the_same_and_the_protocol_knows_each():
    (argument,) = [each for each in log.commands["level"].params if isinstance(each, click.Argument)]
    assert set(argument.type.choices) == set(LEVELS)
    for name in LEVELS:
        assert daemon_pb2.LogLevel.Value("WARN" if name == "warning" else name.upper())


def test_all_that_are_listed_are_levels_and_all_numbers_are_loggings():
    assert set(LISTED.replace(" or", ",").split(", ")) <= set(LEVELS)
    assert set(LEVELS.values()) <= set(logging.getLevelNamesMapping().values())
