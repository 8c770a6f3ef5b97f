"""A log file that others rename, remove and fill the disk of."""

import logging
import os
from pathlib import Path

import pytest

from meshloom.log_file import LogFile
from meshloom.log_lines import log_to


@pytest.fixture
def log(tmp_path):
    handler = log_to(LogFile(tmp_path / "log"))
    logger = logging.Logger("meshloom_test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_after_a_rename_the_new_file_is_written(log, tmp_path):
    log.warning("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.warning("two")
    assert (tmp_path / "log.1").read_text().count("\n") == 1
    assert (tmp_path / "log").read_text().endswith("meshloom_test: two\n")


def test_a_file_that_was_removed_or_emptied_is_written_again(log, tmp_path):
    file = tmp_path / "log"
    log.warning("one")
    file.unlink()
    log.warning("two")
    assert "two" in file.read_text()
    os.truncate(file, 0)
    log.warning("three")
    assert file.read_text().endswith("three\n")
    assert "\0" not in file.read_text()


def test_where_no_new_file_can_be_made_the_old_one_is_written_on_and_the_next_is_found(log, tmp_path):
    log.warning("one")
    folder = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(folder)
    log.warning("two")
    assert "two" in (folder / "log").read_text()
    tmp_path.mkdir()
    log.warning("three")
    assert "three" in (tmp_path / "log").read_text()


def test_a_full_disk_ends_nothing(capfd):
    handler = log_to(LogFile(Path("/dev/full")))
    logger = logging.Logger("meshloom_test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    logger.warning("lost")
    handler.close()
    logger.warning("after its end")
    assert capfd.readouterr() == ("", "")


def test_reopening_tells_whether_it_could_be_done(log, tmp_path):
    handler = log.handlers[0]
    assert handler.reopen()
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-gone"))
    assert not handler.reopen()
    log.warning("goes on")
    assert "goes on" in (tmp_path.with_name(f"{tmp_path.name}-gone") / "log").read_text()


def test_a_file_that_cannot_be_opened_at_first_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        LogFile(tmp_path / "nowhere" / "log")
