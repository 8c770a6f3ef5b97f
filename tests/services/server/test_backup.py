"""``meshloom-server backup`` beside a server that owns the file."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from meshloom.model.state import ENTITIES
from meshloom.store import StoreContext
from meshloom.testing import samples
from meshloom_store_sqlite import SqliteOptions, meshloom_stores

pytestmark = pytest.mark.anyio

SERVER = Path(sys.executable).with_name("meshloom-server")


def backup(data_dir, file):
    command = [SERVER, "--data-dir", data_dir, "backup", file]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


async def test_a_running_servers_state_is_copied(tmp_path):
    (backend,) = meshloom_stores()
    async with backend.open(SqliteOptions(), StoreContext(tmp_path, ENTITIES)) as store:
        async with store.transaction() as transaction:
            await transaction.put(samples.account())
        done = backup(tmp_path, tmp_path / "copy.db")
        assert done.returncode == 0, done.stderr
        again = backup(tmp_path, tmp_path / "copy.db")
        assert again.returncode != 0
        assert "File exists" in again.stderr
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT id FROM accounts").fetchall() == [("account",)]
    copy.close()


def test_where_there_is_nothing_it_says_so(tmp_path):
    done = backup(tmp_path, tmp_path / "copy.db")
    assert done.returncode != 0
    assert "cannot be opened" in done.stderr
    assert not (tmp_path / "copy.db").exists()
