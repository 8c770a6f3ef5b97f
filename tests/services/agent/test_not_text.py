"""Bytes that are not UTF-8, wherever they come from, are replaced, and end nothing."""

import os
import platform
import socket

import pytest

from meshloom.text import readable
from meshloom_agent.facts import system_meta
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

BAD = "caf\udce9"
GOOD = "caf\N{REPLACEMENT CHARACTER}"


def test_text_that_can_be_sent_stays():
    for text in ("box", "Übung", "日本", ""):
        assert readable(text) is text or readable(text) == text
    assert readable(BAD) == GOOD
    assert readable("\ud800") == "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def unreadable(monkeypatch):
    """Everything that this machine tells of itself has bytes that are not text."""
    monkeypatch.setattr(socket, "gethostname", lambda: BAD)
    monkeypatch.setattr(platform, "machine", lambda: BAD)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"NAME": BAD, "VERSION_ID": BAD})


async def test_facts_that_are_not_text_are_told_with_marks(unreadable):
    meta = await system_meta("", ipv6=True)
    assert meta.SerializeToString()
    assert (meta.hostname, meta.OS, meta.platform) == (GOOD, GOOD, GOOD)


@pytest.mark.parametrize("error", [OSError(2, "No such file"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "bad")])
async def test_facts_that_cannot_be_had_are_left_out(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(platform, "freedesktop_os_release", fail)
    assert (await system_meta("box", ipv6=True)).hostname == "box"


async def test_a_running_agent_reconnects_though_its_host_name_is_not_text_any_more(
    agents, management, until, unreadable
):
    one = agents(0)
    await until(lambda: one.report.state == CONNECTED)
    management.tell(one.key.text, None)
    await until(lambda: len(management.metas) > 1 and one.report.state == CONNECTED, 30)
    assert management.metas[-1].hostname == GOOD
    assert one.failure is None


async def test_a_host_name_of_the_command_line_is_replaced(daemon, meshloom, management, until):
    key = "11111111-2222-3333-4444-555555555555"
    done = await meshloom("up", "-m", management.url, "-k", key, "--interface-name", "test0", "-n", BAD)
    assert (done.code, done.err) == (0, ""), done.err
    assert management.logins[-1].meta.hostname == GOOD


async def test_a_key_file_that_is_not_text_is_said_in_words(meshloom, management, tmp_path):
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfe\xe9")
    done = await meshloom("up", "-m", management.url, "--setup-key-file", str(file))
    assert done.code == 2
    assert done.err.endswith(f"--setup-key-file {file}: holds no key, but bytes that are not text")


async def test_a_private_key_file_that_is_not_text_is_said_in_words(joined, daemon, meshloom):
    await daemon.pause()
    (daemon.files.path / "private.key").write_bytes(os.urandom(3) + b"\xff\xe9")
    done = await meshloom("up")
    assert done.code == 1
    assert "holds no key" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["preshared.key", "settings.json", "map", "servers.json"])
async def test_other_files_that_are_not_text_end_nothing(joined, daemon, meshloom, name):
    await daemon.pause()
    for file in daemon.files.path.glob(f"{name.partition('.')[0]}*"):
        file.write_bytes(b"\xff\xfe\xe9")
    done = await meshloom("up")
    assert "Traceback" not in done.err
    assert "codec" not in done.err


async def test_a_peer_to_ping_that_is_not_text_is_said_in_words(daemon, meshloom):
    done = await meshloom("ping", BAD)
    assert done.code == 1
    assert "Traceback" not in done.err
