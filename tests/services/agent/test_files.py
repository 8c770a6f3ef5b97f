"""The agent's files: whole or not at all, for root alone, and never a reason not to start."""

import errno
import itertools
import os
import stat

import pytest

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.files import AgentSettings, KnownServer, StateDir, StateError

SETTINGS = AgentSettings(management_url="http://192.0.2.1", port=4000, excluded_interfaces=("br",), up=True)
KEY = PrivateKey.of(b"s" * 32).public.text
MAP = pb.SyncResponse(NetworkMap=pb.NetworkMap(Serial=7)).SerializeToString()


@pytest.fixture
def files(tmp_path):
    return StateDir(tmp_path / "state")


def test_what_is_kept_is_there_after_a_restart(files):
    key, ssh = files.key(), files.ssh_key()
    files.keep_settings(SETTINGS)
    files.keep_map(MAP)
    again = StateDir(files.path)
    assert again.key() == key
    assert again.ssh_key() == ssh
    assert again.settings() == SETTINGS
    assert again.last_map().NetworkMap.Serial == 7
    again.forget_map()
    assert again.last_map() is None


def test_all_of_it_is_for_root_alone(files):
    files.key()
    files.ssh_key()
    files.keep_settings(SETTINGS)
    files.keep_map(MAP)
    files.keep_preshared_key(files.key().reveal())
    assert stat.S_IMODE(files.path.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files.path.iterdir()}
    assert set(modes) == {"private.key", "ssh.pub", "settings.json", "map", "preshared.key", "settings.json.copy"}
    assert set(modes.values()) == {0o600}


RUBBISH = (b"", b"\xff\xfe", b"{}broken", b"[1]", b"meshloom map 1\nand then nothing")


@pytest.mark.parametrize(
    ("name", "content"), sorted(itertools.product(("settings.json", "map", "servers.json"), RUBBISH))
)
def test_a_broken_file_is_moved_aside_and_named_in_the_log(files, caplog, name, content):
    (files.path / name).write_bytes(content)
    assert files.settings() == AgentSettings()
    assert files.servers() == {}
    assert files.last_map() is None
    assert (files.path / f"{name}.broken").read_bytes() == content
    assert str(files.path / name) in caplog.text


@pytest.mark.parametrize("content", RUBBISH)
def test_a_key_that_cannot_be_read_is_never_replaced(files, content):
    """Another key would be another machine: a person is asked, and what is left of the old one stays."""
    (files.path / "private.key").write_bytes(content)
    for _ in range(2):
        with pytest.raises(StateError, match=r"private\.key: holds no key.*copy of it back.*logout --local"):
            files.key()
    assert (files.path / "private.key").read_bytes() == content
    files.forget_account()
    assert (files.path / "private.key.broken").read_bytes() == content
    assert files.key() == files.key()


def test_a_key_that_is_gone_is_not_made_again_where_this_machine_has_joined(files):
    files.key()
    files.keep_map(MAP)
    (files.path / "private.key").rename(files.path / "elsewhere")
    with pytest.raises(StateError, match=r"private\.key: is missing, though this machine has joined"):
        files.key()
    assert not (files.path / "private.key").exists()
    files.forget_account()
    files.key()


@pytest.mark.parametrize("content", RUBBISH[1:])
def test_a_preshared_key_that_cannot_be_read_is_not_taken_for_none(files, content):
    (files.path / "preshared.key").write_bytes(content)
    with pytest.raises(StateError, match=r"preshared\.key: holds no key: give it again"):
        files.preshared_key()
    files.keep_preshared_key("")
    assert files.preshared_key() is None


@pytest.mark.parametrize("content", RUBBISH)
def test_of_broken_settings_the_last_good_copy_is_used(files, caplog, content):
    files.keep_settings(SETTINGS)
    files.keep_servers({"http://192.0.2.1:80": KnownServer(KEY, proves=True)})
    for name in ("settings.json", "servers.json"):
        (files.path / name).write_bytes(content)
    assert files.settings() == SETTINGS
    assert files.servers() == {"http://192.0.2.1:80": KnownServer(KEY, proves=True)}
    assert (files.path / "settings.json.broken").read_bytes() == content
    assert "the last good copy of it is used" in caplog.text
    assert StateDir(files.path).settings() == SETTINGS


def test_a_map_of_any_serial_may_follow_after_another_login(files):
    files.keep_map(MAP)
    files.restart_serials()
    assert files.last_map().NetworkMap.Serial == 0


def test_a_broken_file_that_cannot_be_moved_is_named_in_the_log_too(files, caplog):
    (files.path / "settings.json").write_text("{}broken")
    (files.path / "settings.json.broken").mkdir()
    assert files.settings() == AgentSettings()
    assert f"{files.path / 'settings.json'} can neither be read nor moved aside" in caplog.text


@pytest.mark.parametrize("content", ['{"port": "many"}', '{"up": 1}', '{"excluded_interfaces": "br"}', '{"mtu": null}'])
def test_settings_of_wrong_types_are_broken(files, content):
    (files.path / "settings.json").write_text(content)
    assert files.settings() == AgentSettings()
    assert (files.path / "settings.json.broken").exists()


def test_settings_of_another_version_are_read_as_far_as_they_are_known(files):
    (files.path / "settings.json").write_text('{"port": 4000, "colour": "blue"}')
    assert files.settings() == AgentSettings(port=4000)


def test_every_cut_of_a_map_is_noticed(files):
    files.keep_map(MAP)
    whole = (files.path / "map").read_bytes()
    for length in range(len(whole)):
        (files.path / "map").write_bytes(whole[:length])
        assert files.last_map() is None
    (files.path / "map").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert files.last_map() is None


def full(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_what_was_there(files, monkeypatch, caplog):
    files.keep_settings(SETTINGS)
    files.keep_map(MAP)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left"):
        files.keep_settings(AgentSettings())
    files.keep_map(b"")
    assert "No space left" in caplog.text
    assert files.settings() == SETTINGS
    assert files.last_map().NetworkMap.Serial == 7
    assert not list(files.path.glob("*.new"))


def test_what_a_killed_agent_left_half_written_is_replaced(files):
    draft = files.path / "settings.json.new"
    draft.write_text("half")
    draft.chmod(0o644)
    files.keep_settings(SETTINGS)
    assert files.settings() == SETTINGS
    assert stat.S_IMODE((files.path / "settings.json").stat().st_mode) == 0o600


def test_two_agents_do_not_share_a_folder(files):
    with files.held(), pytest.raises(ConfigError, match="another agent runs there"), StateDir(files.path).held():
        pass
    with StateDir(files.path).held():
        pass


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--state-dir"):
        StateDir(tmp_path / "file")


def test_what_is_no_preshared_key_is_refused_without_repeating_it(files):
    with pytest.raises(ConfigError, match="--preshared-key") as caught:
        files.keep_preshared_key("my-secret")
    assert "my-secret" not in str(caught.value)
    files.keep_preshared_key(files.key().reveal())
    assert files.preshared_key().raw == files.key().raw
    files.keep_preshared_key("")
    assert files.preshared_key() is None


def test_a_copy_that_is_left_alone_is_used(files):
    files.keep_settings(SETTINGS)
    (files.path / "settings.json").unlink()
    assert files.settings() == SETTINGS
    assert (files.path / "settings.json").exists()
