"""The daemon's log: what is shown, and what is kept besides."""

import logging

import pytest

from meshloom.errors import ConfigError
from meshloom_agent.diagnostics.logs import DaemonLogs, LogRing

FORGED = "wss://x\n2026-01-01 00:00:00,000 WARNING meshloom: all is well\r\x1b]0;owned\x07\u202e"


def record(text, name="meshloom_agent.test", level=logging.DEBUG):
    return logging.LogRecord(name, level, "", 0, text, (), None)


@pytest.fixture
def logs():
    """Logging as it was, afterwards."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("meshloom", "meshloom_agent", "asyncio")}
    yield DaemonLogs()
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, number in levels.items():
        logging.getLogger(name).setLevel(number)


def test_the_ring_is_bounded_and_keeps_the_newest():
    ring = LogRing(most=1000)
    for number in range(1000):
        ring.handle(record(f"line {number}"))
    assert len(ring.text) <= 1000
    assert ring.text.endswith("line 999\n")
    assert "line 0\n" not in ring.text
    ring.handle(record("x" * 100_000))
    assert len(ring.text) <= 8193


def test_debug_is_kept_while_less_is_shown(logs, tmp_path):
    file = tmp_path / "log"
    logs.install("warning", file)
    ours, theirs = logging.getLogger("meshloom_agent.test"), logging.getLogger("asyncio")
    ours.debug("details")
    ours.warning("important")
    theirs.debug("chatter")
    assert "details" in logs.ring.text
    assert "important" in logs.ring.text
    assert "chatter" not in logs.ring.text
    assert "details" not in file.read_text()
    assert "important" in file.read_text()
    logs.level = logging.DEBUG
    ours.debug("more details")
    theirs.debug("chatter")
    assert "more details" in file.read_text()
    assert "chatter" not in file.read_text()


def test_levels_and_files_that_cannot_be_are_refused(logs, tmp_path):
    with pytest.raises(ConfigError, match="log_level = 'loud'"):
        logs.install("loud")
    with pytest.raises(ConfigError, match=f"--log-file {tmp_path}"):
        logs.install("info", tmp_path)


def test_the_file_and_the_ring_hold_one_printable_line_for_each_record(logs, tmp_path):
    logs.install("info", tmp_path / "log")
    logging.getLogger("meshloom_agent.test").warning("a peer names the relay %s", FORGED)
    for text in ((tmp_path / "log").read_text(), logs.ring.text):
        lines = [line for line in text.split("\n") if "names the relay" in line or "all is well" in line]
        assert len(lines) == 1
        assert lines[0].isprintable()
