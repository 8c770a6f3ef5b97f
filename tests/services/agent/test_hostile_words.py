"""What a peer, a server or an older daemon says reaches root's terminal as visible characters on the line it is on."""

import io
import json
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import yaml
from click.testing import CliRunner

from meshloom.rpc import daemon_pb2 as pb
from meshloom.rpc import diagnostics_pb2 as diagnostics
from meshloom.rpc.daemon_pb2_grpc import DaemonServiceServicer, add_DaemonServiceServicer_to_server
from meshloom.rpc.diagnostics_pb2_grpc import DiagnosticsServicer, add_DiagnosticsServicer_to_server
from meshloom_agent.cli.main import main
from meshloom_agent.diagnostics.bundle import packed
from meshloom_agent.diagnostics.checks import Finding, Level
from meshloom_agent.diagnostics.checks import as_text as findings_text
from meshloom_agent.diagnostics.netcheck import Netcheck, Reached
from meshloom_agent.diagnostics.netcheck_text import as_text as netcheck_text

NASTY = "x\x1b]0;owned\x07\r\nManagement: Connected\x9b2J\u202e\u2066\u200b\u2028\x7f"
FORGED = "Management: Connected"


def fill(message, skip=()):
    """Every text field of the message, and of all that are in it, says something hostile."""
    for field in message.DESCRIPTOR.fields:
        if field.name in skip or (field.message_type and field.message_type.file.name.startswith("google/")):
            continue
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            value["key"] = NASTY
            continue
        if field.type == field.TYPE_MESSAGE:
            fill(value.add() if field.is_repeated else value)
        elif field.type == field.TYPE_STRING and field.is_repeated:
            value.append(NASTY)
        elif field.type == field.TYPE_STRING:
            setattr(message, field.name, NASTY)
    return message


class HostileDaemon(DaemonServiceServicer, DiagnosticsServicer):
    def Status(self, request, context):
        answer = fill(pb.StatusResponse(), skip=("status",))
        answer.status = "Connecting"
        peer = answer.fullStatus.peers[0]
        peer.connStatus, peer.relayed = "Connected", True
        return answer

    def Login(self, request, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, NASTY)

    def Ping(self, request, context):
        yield fill(diagnostics.PingReply(path=diagnostics.PingReply.RELAYED))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the program's is taken away afterwards
    server = grpc.server(ThreadPoolExecutor(4))
    daemon = HostileDaemon()
    add_DaemonServiceServicer_to_server(daemon, server)
    add_DiagnosticsServicer_to_server(daemon, server)
    address = f"unix://{tmp_path / 'socket'}"
    server.add_insecure_port(address)
    server.start()
    yield lambda *argv: CliRunner().invoke(main, [*argv, "--daemon-addr", address])
    server.stop(None).wait()


def assert_harmless(text):
    for line in text.rstrip("\n").split("\n"):
        assert line.isprintable(), repr(line)
        assert not line.startswith(FORGED)


@pytest.mark.parametrize(
    "argv",
    [
        ("status",),
        ("status", "-d"),
        ("status", "-4"),
        ("status", "--json"),
        ("status", "--yaml"),
        ("status", "--check", "startup"),
        ("ping", "desk", "-c", "1"),
        ("login",),
        ("up",),
    ],
    ids=" ".join,
)
def test_no_command_hands_hostile_words_to_the_terminal(run, argv):
    done = run(*argv)
    assert "owned" in done.output, "the words were said"
    assert_harmless(done.output)


def test_a_program_that_reads_the_json_gets_what_was_said(run):
    assert json.loads(run("status", "--json").output)["fqdn"] == NASTY
    assert yaml.safe_load(run("status", "--yaml").output)["fqdn"] == NASTY


def test_a_finding_and_a_server_stay_on_their_line():
    found = [Finding("names", Level.ERROR, f"host: {NASTY}", f"ask {NASTY}")]
    assert_harmless(findings_text(found))
    assert len(findings_text(found).split("\n")) == 2
    text = netcheck_text(Netcheck(servers=(Reached("relay", NASTY, error=NASTY),), portal=NASTY))
    assert_harmless(text)


def test_the_files_of_a_bundle_can_be_looked_at_in_a_terminal():
    content = {"resolv.conf": f"search\t{NASTY}\n", "status.json": {"fqdn": NASTY}}
    with tarfile.open(fileobj=io.BytesIO(packed(content))) as archive:
        for name in archive.getnames():
            text = archive.extractfile(name).read().decode()
            assert "owned" in text
            assert all(line.isprintable() for line in text.split("\n")), name
