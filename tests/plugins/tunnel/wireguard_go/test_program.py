"""Starting the program: its control socket is its own from the moment that it is there."""

import os
import socket
import sys

import pytest

from meshloom_tunnel_wireguard_go import program
from meshloom_tunnel_wireguard_go.program import running, start

pytestmark = pytest.mark.anyio

SLOW = """#!{python}
import os, socket, sys, time
made = socket.socket(socket.AF_UNIX)
made.bind("{folder}/" + sys.argv[2] + ".sock")
time.sleep(0.5)
made.listen()
time.sleep(60)
"""


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "SOCKETS", tmp_path)
    monkeypatch.setattr(program, "START_WITHIN", 5.0)
    return tmp_path


async def test_a_socket_that_is_bound_and_not_yet_listened_on_is_left_to_its_program(sockets):
    file = sockets / "slow"
    file.write_text(SLOW.format(python=sys.executable, folder=sockets))
    file.chmod(0o755)
    made = await start(str(file), "mlt0")
    try:
        assert made.pid
        assert (sockets / "mlt0.sock").is_socket()
    finally:
        await made.end()
        made.close()


def test_a_socket_that_a_killed_program_left_is_removed(sockets):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(sockets / "mlt0.sock"))
    assert running("mlt0") is None
    assert not (sockets / "mlt0.sock").exists()


def test_what_is_not_a_socket_of_ours_to_judge_stays(sockets):
    (sockets / "mlt0.sock").symlink_to(sockets / "a" / "b")
    assert running("mlt0") is None
    assert os.path.lexists(sockets / "mlt0.sock")
