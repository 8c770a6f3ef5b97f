"""What the SQLite store says and keeps when something goes wrong."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta

import pytest

from meshloom.errors import StoreError, StoreUnavailable
from meshloom.model.account import Account
from meshloom.model.group import Group
from meshloom.testing import samples

pytestmark = pytest.mark.anyio

WRITER = """
import sys, anyio
from pathlib import Path
from meshloom.model.state import ENTITIES
from meshloom.store import StoreContext
from meshloom.testing import samples
from meshloom_store_sqlite import SqliteOptions, meshloom_stores

async def main():
    context = StoreContext(Path(sys.argv[1]), ENTITIES)
    async with meshloom_stores()[0].open(SqliteOptions(), context) as store:
        number = 0
        while True:
            async with store.transaction() as transaction:
                await transaction.put(samples.account(serial=number))
                await transaction.put(samples.group(f"g{number:06}"))
            print(number, flush=True)
            number += 1

anyio.run(main)
"""


async def put(store, *entities):
    async with store.transaction() as transaction:
        for entity in entities:
            await transaction.put(entity)


@pytest.fixture
def anyio_backend():
    return "asyncio"  # one test cancels its task as only asyncio can


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(open_sqlite, tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        acknowledged = [int(writer.stdout.readline()) for _ in range(30)]
    finally:
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait()
    async with open_sqlite() as store, store.transaction() as transaction:
        groups = await transaction.find(Group)
        account = await transaction.get(Account, "account")
    assert len(groups) in (len(acknowledged), len(acknowledged) + 1)
    assert account.serial == len(groups) - 1


async def test_a_second_process_is_refused_by_name(open_sqlite, tmp_path):
    async with open_sqlite():
        second = subprocess.run(
            [sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True, check=False, timeout=30
        )
    assert second.returncode != 0
    assert f"process {os.getpid()} uses it" in second.stderr


async def test_another_process_may_read_meanwhile(open_sqlite, tmp_path):
    async with open_sqlite() as store:
        await put(store, samples.account())
        async with open_sqlite(read_only=True) as reader:
            async with reader.transaction() as transaction:
                assert len(await transaction.find(Account)) == 1
            await put(store, samples.account("second"))
            await reader.backup(tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT count(*) FROM accounts").fetchone() == (2,)
    copy.close()


async def test_a_full_disk_is_said_and_loses_only_what_was_not_committed(open_sqlite):
    async with open_sqlite() as store:
        await put(store, samples.account())
        driver = store._session.connection.connection.driver_connection
        (pages,) = driver.execute("PRAGMA page_count").fetchone()
        driver.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await put(store, *(samples.group(f"g{number}", name="x" * 1000) for number in range(100)))
        driver.execute("PRAGMA max_page_count = 1000000")
        async with store.transaction() as transaction:
            assert await transaction.find(Group) == []
        await put(store, samples.group())


async def test_a_file_that_another_program_locks_is_said(open_sqlite, tmp_path):
    async with open_sqlite(busy_timeout=timedelta(milliseconds=20)) as store:
        other = sqlite3.connect(tmp_path / "meshloom.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another process holds it"):
            await put(store, samples.account())
        other.close()
        await put(store, samples.account())


async def test_what_is_no_database_is_said_and_left_alone(open_sqlite, tmp_path):
    (tmp_path / "meshloom.db").write_text("not a database " * 1000)
    with pytest.raises(StoreUnavailable, match=r"meshloom\.db: it is no SQLite database"):
        async with open_sqlite():
            pass
    assert (tmp_path / "meshloom.db").read_text() == "not a database " * 1000


async def test_a_damaged_page_is_said(open_sqlite, tmp_path):
    async with open_sqlite() as store:
        await put(store, samples.account(), *(samples.group(f"g{number}") for number in range(2000)))
    content = bytearray((tmp_path / "meshloom.db").read_bytes())
    content[20 * 4096 :] = os.urandom(len(content) - 20 * 4096)
    (tmp_path / "meshloom.db").write_bytes(content)
    with pytest.raises(StoreUnavailable, match="it is damaged"):
        async with open_sqlite() as store, store.transaction() as transaction:
            await transaction.find(Group)


async def test_a_damaged_document_is_named(open_sqlite, tmp_path):
    async with open_sqlite() as store:
        await put(store, samples.account())
    database = sqlite3.connect(tmp_path / "meshloom.db")
    database.execute("UPDATE accounts SET body = json_set(body, '$.serial', 'many')")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match=r"Account\.serial"):
        async with open_sqlite() as store, store.transaction() as transaction:
            await transaction.find(Account)


async def test_a_folder_that_cannot_be_made_is_said(tmp_path, open_sqlite):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="check"):
        async with open_sqlite(file="file/meshloom.db"):
            pass


async def test_reading_a_file_that_is_not_there_is_said(open_sqlite):
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with open_sqlite(read_only=True):
            pass


async def test_nobody_else_can_read_the_files(open_sqlite, tmp_path):
    (tmp_path / "meshloom.db").touch(mode=0o644)
    async with open_sqlite() as store:
        await put(store, samples.account())
        files = list(tmp_path.iterdir())
        assert {file.name for file in files} >= {"meshloom.db", "meshloom.db-wal"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_a_task_cancelled_the_hard_way_keeps_transactions_apart(open_sqlite):
    async def write(store, number):
        async with store.transaction() as transaction:
            await transaction.put(samples.group(f"a{number}"))
            await transaction.find(Group)
            await transaction.put(samples.group(f"b{number}"))

    async with open_sqlite() as store:
        await put(store, samples.account())
        for number in range(60):
            task = asyncio.create_task(write(store, number))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            task.cancel()
            if number % 3:
                task.cancel()
            await put(store, samples.account(serial=number))
            await asyncio.gather(task, return_exceptions=True)
        async with store.transaction() as transaction:
            ids = {group.id for group in await transaction.find(Group)}
            assert (await transaction.get(Account, "account")).serial == 59
    assert {id[1:] for id in ids if id[0] == "a"} == {id[1:] for id in ids if id[0] == "b"}
