"""Servers that answer rubbish or are away for long, disks and paths that refuse: the mesh that is stays."""

import errno
import logging
import os
import socket

import pytest

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey, PublicKey
from meshloom.protocol.seal import Box
from meshloom.protocol.signal import MAX_BODY, Credentials, SignalKind, SignalMessage
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import signalexchange_pb2 as signal_pb
from meshloom.testing.lab import Nat
from meshloom_agent.backoff import Backoff
from meshloom_agent.channel import parse_url
from meshloom_agent.daemon import Daemon
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.files import StateDir, StateError
from meshloom_agent.main import run_daemon
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.management_errors import ManagementUnreachable
from meshloom_agent.report import CONNECTED
from meshloom_agent.testing import SimulatedMesh

pytestmark = pytest.mark.anyio

ZERO = PublicKey.of(bytes(32))
HOUR = 3600.0


@pytest.fixture
async def pair(agents, until):
    """Two agents, connected."""
    one, two = agents(0), agents(1)
    await until(lambda: one.report.state == two.report.state == CONNECTED)
    await until(lambda: one.connected and two.connected)
    return one, two


# -- servers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "no key", ZERO.text])
async def test_a_server_whose_key_is_none_is_as_good_as_away(management, text):
    async def answer(_request, _context):
        return pb.ServerKeyResponse(key=text)

    strange = type(management)("")
    strange.GetServerKey = answer
    await strange.start()
    client = ManagementClient(parse_url(strange.url), PrivateKey.of(b"a" * 32))
    for call in (
        lambda: client.login(pb.PeerSystemMeta(), b""),
        client.logout,
        lambda: anext(client.sync(pb.PeerSystemMeta())),
    ):
        with pytest.raises(ManagementUnreachable, match=f"management at {strange.url} has no usable key"):
            await call()
    await client.close()
    await strange.stop()


async def test_rubbish_from_management_ends_no_connection(pair, management, until):
    one, two = pair
    queue = management.streams[one.key.text]
    answers = {"too long": bytes(65 << 20), "no map": b"\xff" * 100, "cut off": management.full(one.key.text)}
    sealed = management.sealed

    def spoilt(key, message):
        if message == "cut off":
            whole = sealed(key, answers["cut off"])
            return pb.EncryptedMessage(wgPubKey=whole.wgPubKey, body=whole.body[:-3])
        if isinstance(message, str):
            box = Box(management.key, PublicKey.parse(key), os.urandom)
            return pb.EncryptedMessage(wgPubKey=management.key.public.text, body=box.seal(answers[message]))
        return sealed(key, message)

    management.sealed = spoilt
    for what in answers:
        opened = len(management.metas)
        queue = management.streams[one.key.text]
        queue.put_nowait(what)
        await until(lambda opened=opened: len(management.metas) > opened, 20)
        await until(lambda: one.report.management.connected)
        assert one.failure is None, what
        assert one.connected
    assert two.key in one.tunnel.state.peers


async def test_a_peer_whose_key_is_none_costs_nobody_else(pair, management, until):
    one, two = pair
    remotes = [management.remote(two.key.text), pb.RemotePeerConfig(wgPubKey=ZERO.text, allowedIps=["100.64.0.9/32"])]
    management.tell(one.key.text, management.map_of(one.key.text, remotes, serial=100))
    await until(lambda: ZERO in one.engine._mesh.peers)
    await until(lambda: one.report.signal.connected)
    assert one.failure is None
    assert one.connected
    management.tell(one.key.text, management.map_of(one.key.text, remotes[:1], serial=101))
    await until(lambda: ZERO not in one.engine._mesh.peers)


async def test_messages_of_strangers_and_broken_ones_change_nothing(pair, signal, until, caplog):
    one, two = pair
    stranger = PrivateKey.of(b"s" * 32)
    friend = Box(two.files.key(), one.key, os.urandom)
    strange = Box(stranger, one.key, os.urandom)
    offer = SignalMessage(SignalKind.OFFER, one.key, Credentials("ufrag", "password"), b"12345").encode()
    before = len(signal.sent)
    for sender, body in (
        (stranger.public.text, strange.seal(offer)),  # opens, but is not in the map
        (two.key.text, strange.seal(offer)),  # says it is two, and is not
        (two.key.text, friend.seal(offer)[:-1]),
        (two.key.text, friend.seal(bytes(MAX_BODY + 1))),
        (ZERO.text, friend.seal(offer)),
        ("", b""),
    ):
        signal.deliver(signal_pb.EncryptedMessage(key=sender, remoteKey=one.key.text, body=body))
    await until(lambda: caplog.text.count("a signal message was dropped") == 5)
    assert one.connected
    answered = [sent for sent in signal.sent[before:] if sent.remoteKey == stranger.public.text]
    assert not answered, "a stranger learns nothing of us"


# -- an hour -----------------------------------------------------------------------------------------------------


def test_connections_last_through_an_hour_without_any_server():
    mesh = SimulatedMesh(seed=3)
    one, two, three = (mesh.agent(mesh.lab.behind(Nat()).host()) for _ in range(3))
    for each, other in mesh.pairs():
        mesh.time_to_connect(each, other, within=10)
    mesh.exchange.set_up(False)
    mesh.stun.is_up = False
    start = mesh.clock.now
    while mesh.clock.now < start + HOUR:
        mesh.clock.run_for(300)
        assert all(mesh.are_connected(each, other) for each, other in mesh.pairs())
        mesh.time_to_ping(one, three, within=2)
    mesh.exchange.set_up(True)
    late = mesh.agent(mesh.lab.internet.host())
    mesh.time_to_connect(two, late, within=20)


@pytest.mark.parametrize("luck", [0.0, 0.5, 0.999])
def test_an_hour_of_tries_is_not_many_and_the_end_of_it_is_noticed_soon(luck):
    backoff, passed, waits = Backoff(random=lambda: luck), 0.0, []
    while passed < HOUR:
        waits.append(backoff.next())
        passed += waits[-1]
    assert len(waits) < 800
    assert max(waits) <= 15


# -- disks and paths ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    return StateDir(tmp_path / "state")


def refuse(*_arguments, **_more):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_map_that_cannot_be_forgotten_is_logged_and_no_fall(files, monkeypatch, caplog):
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    files.forget_map()
    assert f"{files.path / 'map'}: cannot be removed: Read-only file system" in caplog.text
    with pytest.raises(StateError, match=r"preshared\.key: cannot be removed"):
        files.keep_preshared_key("")


async def test_a_machine_that_is_removed_while_the_disk_is_dead_goes_on(pair, management, monkeypatch, until):
    one, _ = pair
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    management.peers.pop(one.key.text)
    management.tell(one.key.text, None)
    await until(lambda: one.report.state == "NeedsLogin")
    assert one.failure is None


def test_a_lock_that_cannot_be_made_is_said(files):
    (files.path / "lock").mkdir()
    with pytest.raises(ConfigError, match=r"lock: cannot be made: .*--state-dir"), files.held():
        pass


def test_the_lock_is_for_root_alone(files):
    with files.held():
        assert (files.path / "lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519", b"ssh-ed25519 AAAA\nssh-rsa AAAA", b"\xff" * 40])
def test_a_broken_public_key_of_ssh_is_moved_aside(files, content, caplog):
    (files.path / "ssh.pub").write_bytes(content)
    made = files.ssh_key()
    assert made.startswith(b"ssh-ed25519 ")
    assert files.ssh_key() == made
    assert (files.path / "ssh.pub.broken").read_bytes() == content
    assert "ssh.pub could not be read and was moved aside" in caplog.text


async def test_a_socket_takes_no_files_place(files, tunnels, tmp_path):
    valuable = tmp_path / "valuable"
    valuable.write_text("of somebody")
    with pytest.raises(ConfigError, match="a file that is no socket is there"):
        async with open_socket(Daemon(files, tunnels.chosen), valuable):
            pass
    assert valuable.read_text() == "of somebody"


async def test_an_unknown_group_is_said_before_anything_is_opened(files, tunnels, tmp_path):
    with pytest.raises(ConfigError, match="socket_group = 'nobody-of-that-name'"):
        async with open_socket(Daemon(files, tunnels.chosen), tmp_path / "sock", "nobody-of-that-name"):
            pass
    assert not (tmp_path / "sock").exists()


async def test_a_socket_where_none_can_be_is_said(files, tunnels, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--daemon-addr"):
        async with open_socket(Daemon(files, tunnels.chosen), tmp_path / "file" / "sock"):
            pass
    long = tmp_path / ("x" * 120)
    with pytest.raises(ConfigError, match="--daemon-addr"):
        async with open_socket(Daemon(files, tunnels.chosen), long):
            pass


async def test_only_its_owner_and_the_named_group_may_use_the_socket(files, tunnels, tmp_path):
    """What the system checks is the mode: a client that may not write to the socket cannot connect."""
    path = tmp_path / "sock"
    async with open_socket(Daemon(files, tunnels.chosen), path):
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    assert not path.exists()


@pytest.mark.parametrize("content", [b"no certificate", b"\xff\xfe", b""])
def test_roots_that_are_none_are_said_at_the_start(tmp_path, content):
    roots = tmp_path / "roots.pem"
    roots.write_bytes(content)
    config = tmp_path / "agent.toml"
    config.write_text(f'extra_roots = "{roots}"\n')
    with pytest.raises(ConfigError, match="extra_roots = .* holds no certificates"):
        run_daemon(tmp_path / "state", tmp_path / "sock", config)
    config.write_text(f'extra_roots = "{tmp_path}/nowhere"\n')
    with pytest.raises(ConfigError, match="extra_roots = .* cannot be read: No such file"):
        run_daemon(tmp_path / "state", tmp_path / "sock", config)


def test_a_log_file_that_cannot_be_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(ConfigError, match="--log-file .*: cannot be written"):
        run_daemon(tmp_path / "state", tmp_path / "sock", log_file=tmp_path / "nowhere" / "log")
