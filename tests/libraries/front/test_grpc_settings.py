"""What grpc reads from its environment is there before it looks."""

import os
import subprocess
import sys

import pytest

LOOK = """
import builtins, os, sys
kept, seen = builtins.__import__, []
def look(name, *rest):
    if name == "grpc" and "grpc" not in sys.modules:
        seen.append(os.environ.get("GRPC_EXPERIMENTS"))
    return kept(name, *rest)
builtins.__import__ = look
import {program}.main
print(seen[0])
"""


@pytest.mark.parametrize("program", ["meshloom_server", "meshloom_management", "meshloom_signal"])
def test_its_listener_is_chosen_before_it_is_imported(program):
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    command = [sys.executable, "-c", LOOK.format(program=program)]
    seen = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert seen.stdout == "-event_engine_listener\n"


def test_what_an_operator_chose_stays():
    environment = {**os.environ, "GRPC_EXPERIMENTS": "mine"}
    command = [sys.executable, "-c", "import meshloom_front, os; print(os.environ['GRPC_EXPERIMENTS'])"]
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "mine\n"
