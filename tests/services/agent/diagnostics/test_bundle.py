"""The bundle: what is in it, what is not, and who may read it."""

import io
import json
import logging
import os
import stat
import tarfile

import pytest

from meshloom.rpc import daemon_pb2 as pb
from meshloom.rpc import management_pb2 as management
from meshloom_agent.daemon_service import open_socket
from meshloom_agent.diagnostics.bundle import Told, contents, packed, without_secrets
from meshloom_agent.diagnostics.facts import Facts
from meshloom_agent.diagnostics.logs import DaemonLogs
from meshloom_agent.files import AgentSettings

SETUP_KEY = "11111111-2222-3333-4444-555555555555"
PRESHARED = "c2VjcmV0IHByZXNoYXJlZCBrZXkgb2YgMzIgYnl0ZXM="


def opened(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        assert {each.mode for each in archive} == {0o600}
        return {
            each.name.removeprefix("meshloom-debug/"): archive.extractfile(each).read().decode() for each in archive
        }


def test_credentials_that_management_told_are_left_out():
    sync = management.SyncResponse()
    turn = sync.netbirdConfig.turns.add(user="turn-user-4711", password="turn-password-4711")
    turn.hostConfig.uri = "turn:mesh.test:3478"
    sync.netbirdConfig.relay.urls.append("rels://mesh.test:443")
    sync.netbirdConfig.relay.tokenPayload = "relay-payload-4711"
    sync.netbirdConfig.relay.tokenSignature = "relay-signature-4711"
    sync.NetworkMap.remotePeers.add(wgPubKey="a public key", fqdn="desk.mesh.test")
    made = contents(Facts(), Told(sync=sync))["network_map.json"]
    text = json.dumps(made)
    assert "4711" not in text
    for kept in ("turn:mesh.test:3478", "rels://mesh.test:443", "a public key", "desk.mesh.test", "(left out)"):
        assert kept in text


def test_what_is_named_like_a_secret_is_left_out_wherever_it_stands():
    value = {"a": [{"Password": "x", "presharedKey": "y", "empty_token": ""}], "keys": 1}
    assert without_secrets(value) == {
        "a": [{"Password": "(left out)", "presharedKey": "(left out)", "empty_token": ""}],
        "keys": 1,
    }


def test_a_secret_that_got_into_a_text_is_struck_out():
    files = opened(packed({"log": f"key {PRESHARED} used by http://bob:hidden@proxy.test:3128"}, [PRESHARED, ""]))
    assert files["log"] == "key (left out) used by http://proxy.test:3128"


def test_without_a_daemon_there_is_what_can_be_seen_without_one():
    made = contents(Facts(), Told())
    assert {"doctor.txt", "netcheck.json", "network.json", "versions.json", "README.txt"} <= made.keys()
    assert not {"status.json", "daemon.log", "settings.json"} & made.keys()


@pytest.fixture
async def bundle(tmp_path, connected, daemon, run):
    """The files of a bundle of a connected daemon that logs, has secrets, and knows another machine."""
    daemon.files.keep_preshared_key(PRESHARED)
    logs = DaemonLogs()
    logs.ring.handle(logging.LogRecord("meshloom_agent.x", 10, "", 0, "spoke with peer2.mesh.test", (), None))
    socket = tmp_path / "second.sock"

    async def make(*flags):
        async with open_socket(daemon, socket, logs=logs):
            file = tmp_path / f"bundle{len(flags)}.tar.gz"
            done = await run(
                "debug", "bundle", str(file), "--no-ask-gateway", *flags, "--daemon-addr", f"unix://{socket}"
            )
            assert (done.code, done.out) == (0, str(file)), done.err
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            again = await run("debug", "bundle", str(file), "--daemon-addr", f"unix://{socket}")
            assert (again.code, "is there already" in again.err) == (1, True)
            return opened(file.read_bytes())

    return make


@pytest.mark.anyio
async def test_a_bundle_has_everything_but_secrets(bundle, daemon, management):
    files = await bundle()
    private = daemon.files.key()
    for name, text in files.items():
        for secret in (SETUP_KEY, PRESHARED, private.reveal(), "PRIVATE KEY"):
            assert secret not in text, name
    status = json.loads(files["status.json"])
    assert status["status"] == "Connected"
    assert status["fullStatus"]["localPeerState"]["pubKey"] == private.public.text
    assert json.loads(files["settings.json"])["management_url"] == management.url
    assert "spoke with peer2.mesh.test" in files["daemon.log"]
    assert "peer2.mesh.test" in files["network_map.json"]
    assert "[ok] daemon" in files["doctor.txt"]
    assert any(each["name"] == "lo" for each in json.loads(files["network.json"])["interfaces"])


@pytest.mark.anyio
async def test_an_anonymized_bundle_names_nobody_and_stays_consistent(bundle):
    files = await bundle("--anonymize")
    for name, text in files.items():
        for word in ("peer1", "peer2", "mesh.test", "100.64.0.1/", "100.64.0.2", "192.0.2.1", os.uname().nodename):
            assert word not in text, (name, word)
    status = json.loads(files["status.json"])
    other = status["fullStatus"]["peers"][0]["fqdn"]
    assert other in files["daemon.log"]
    assert other in files["network_map.json"]


@pytest.mark.anyio
async def test_without_a_daemon_the_command_still_makes_one(run, tmp_path):
    file = tmp_path / "bundle.tar.gz"
    done = await run(
        "debug", "bundle", str(file), "--no-ask-gateway", "--state-dir", str(tmp_path / "state"),
        "--daemon-addr", f"unix://{tmp_path}/none",
    )  # fmt: skip
    assert (done.code, "without the daemon's part" in done.err) == (6, True)
    assert "no daemon listens" in opened(file.read_bytes())["doctor.txt"]


@pytest.mark.anyio
async def test_the_level_of_the_log_can_be_changed(daemon, tmp_path, run):
    logs = DaemonLogs()
    before = logging.getLogger().level
    try:
        async with open_socket(daemon, tmp_path / "second.sock", logs=logs):
            done = await run("debug", "log", "level", "warn", "--daemon-addr", f"unix://{tmp_path}/second.sock")
            assert (done.code, done.out) == (0, "Log level set to warn")
            assert logging.getLogger().level == logging.WARNING
            wrong = await run("debug", "log", "level", "loud", "--daemon-addr", f"unix://{tmp_path}/second.sock")
            assert wrong.code == 2
    finally:
        logging.getLogger().setLevel(before)


def test_settings_hold_no_secret():
    assert {"settings.json"} <= contents(Facts(), Told(settings=AgentSettings())).keys()
    assert contents(Facts(), Told(status=pb.StatusResponse(status="Idle")))["status.json"] == {"status": "Idle"}
