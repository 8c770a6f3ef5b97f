"""The log of a server's program: others' words forge no line and speak to no terminal."""

import subprocess
import sys

PROGRAM = r"""
import logging
from types import SimpleNamespace
from meshloom_front.commands import start
from meshloom_front.config import ServerConfig

async def run(setup):
    said = "x\n2026 WARNING forged\r\x1b]0;owned\x07\u202e"
    logging.getLogger("meshloom_test").warning("a stranger calls itself %s", said)

start(lambda: SimpleNamespace(config=ServerConfig(), source="here"), run, ())
"""


def test_a_record_of_a_server_is_one_printable_line():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, timeout=60)
    (line,) = ended.stderr.decode().rstrip("\n").split("\n")
    assert line.isprintable()
    assert r"x\n2026 WARNING forged\r\x1b]0;owned\x07\u202e" in line
