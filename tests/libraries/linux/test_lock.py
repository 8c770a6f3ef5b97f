"""One agent on an interface, and nothing left of it at its end."""

import subprocess
import sys

import pytest

from meshloom.errors import TunnelError
from meshloom_linux import lock
from meshloom_linux.lock import only_one

HOLDER = """
import sys
from pathlib import Path
from meshloom_linux import lock
lock.FOLDER = Path(sys.argv[1])
with lock.only_one("ml0"):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "FOLDER", tmp_path / "wireguard")
    return lock.FOLDER


@pytest.fixture
def holder(folder):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        made.stdout.readline()
        yield made
        made.kill()


def test_a_second_agent_is_refused_and_the_first_keeps_the_interface(folder, holder):
    for _ in range(2):
        with pytest.raises(TunnelError, match="another agent uses the interface ml0"), only_one("ml0"):
            pass
    with only_one("ml1"):
        assert sorted(each.name for each in folder.iterdir()) == ["ml0.meshloom.lock", "ml1.meshloom.lock"]


def test_an_agent_that_ends_leaves_no_file(folder):
    with only_one("ml0"):
        assert list(folder.iterdir())
    assert list(folder.iterdir()) == []


def test_the_file_of_a_killed_agent_is_taken_over_and_goes(folder, holder):
    holder.kill()
    holder.wait()
    with only_one("ml0"):
        assert list(folder.iterdir())
    assert list(folder.iterdir()) == []


def test_a_file_that_its_holder_removes_meanwhile_is_not_the_lock(folder, monkeypatch):
    """What was locked then would keep out nobody who comes later."""
    locks, real = [], lock.fcntl.flock

    def slow(file, how):
        if not locks:
            (folder / "ml0.meshloom.lock").unlink()  # as its holder does between our opening and our locking
        locks.append(file)
        real(file, how)

    monkeypatch.setattr(lock.fcntl, "flock", slow)
    with only_one("ml0"):
        assert len(locks) == 2
        with pytest.raises(TunnelError, match="another agent"), only_one("ml0"):
            pass
