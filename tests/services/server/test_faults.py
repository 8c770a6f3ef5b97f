"""A server that is told to stop, killed, put where it cannot run, or spoken to wrongly."""

import os
import shutil
import signal
import socket
import sqlite3
import ssl

import anyio
import grpc
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.protocol.seal import Box
from meshloom.protocol.signal_proof import CHALLENGE, PROVES, prove
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import signalexchange_pb2 as signal_pb
from meshloom.rpc.management_pb2_grpc import ManagementServiceStub
from meshloom.rpc.signalexchange_pb2_grpc import SignalExchangeStub
from meshloom.testing.namespaces import wait_until
from meshloom_agent.management_errors import LoginDenied, ManagementUnreachable

pytestmark = [pytest.mark.anyio, pytest.mark.mesh]

ONE, OTHER = PrivateKey.of(b"1" * 32), PrivateKey.of(b"2" * 32)


async def test_a_stop_is_told_on_every_stream_and_ends_in_seconds(program, machine):
    server = program().start().set_up()
    one = machine(server.url)
    await one.login(server.setup_key())
    said = []

    async def follow(follows):
        try:
            async for update in one.sync():
                said.append(update)
                follows.set()
        except ManagementUnreachable as error:
            said.append(str(error))

    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        anyio.create_task_group() as tasks,
    ):
        about = (("x-wiretrustee-peer-id", one.key.public.text), (PROVES, "1"))
        stream = SignalExchangeStub(channel).ConnectStream(metadata=about)
        challenge = dict(await stream.initial_metadata())[CHALLENGE]
        await stream.write(prove(challenge, one.key, os.urandom))
        follows = anyio.Event()
        tasks.start_soon(follow, follows)
        with anyio.fail_after(10):
            await follows.wait()
        server.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(5):
            assert await stream.read() is grpc.aio.EOF, "told, not cut off"
    assert "the server is stopping" in said[-1]
    assert server.process.wait(timeout=10) == 0
    assert "Traceback" not in server.said
    assert "ERROR" not in server.said


async def test_a_killed_server_has_all_that_it_acknowledged(program, machine):
    server = program().start().set_up()
    key = server.setup_key()
    machines = [machine(server.url) for _ in range(20)]
    acknowledged = []

    async def join(each):
        try:
            await each.login(key)
        except ManagementUnreachable:
            return
        acknowledged.append(each)
        if len(acknowledged) == 5:
            server.process.kill()

    async with anyio.create_task_group() as tasks:
        for each in machines:
            tasks.start_soon(join, each)
    server.process.wait()
    assert len(acknowledged) >= 5
    server.start()
    _, peers = server.api("GET", "/api/peers")
    assert len(peers) >= len(acknowledged)
    assert len({peer["ip"] for peer in peers}) == len(peers)
    for each in acknowledged:
        await each.login(), "known by its key alone"
    assert server.stop() == 0


@pytest.mark.parametrize("wish", [{"type": "one-off", "usage_limit": 1}, {"usage_limit": 3}])
async def test_of_many_programs_at_once_a_key_enrols_as_many_as_it_may(program, machine, wish):
    server = program().start().set_up()
    key = server.setup_key(**wish)
    outcomes = []

    async def join(each):
        try:
            outcomes.append(await each.login(key))
        except LoginDenied as denied:
            outcomes.append(denied)

    async with anyio.create_task_group() as tasks:
        for _ in range(16):
            tasks.start_soon(join, machine(server.url))
    may = wish["usage_limit"]
    assert sum(isinstance(outcome, pb.LoginResponse) for outcome in outcomes) == may
    assert len(server.api("GET", "/api/peers")[1]) == may
    assert {str(outcome) for outcome in outcomes if isinstance(outcome, LoginDenied)} == {
        f"the server refuses key {key[:5]}...: unknown, expired, revoked or used up"
    }


async def status_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


async def test_messages_that_are_none_of_the_servers_are_refused_in_words(program):
    server = program().start().set_up()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = ManagementServiceStub(channel)
        box = Box(ONE, key_of(await stub.GetServerKey(pb.Empty())), os.urandom)
        login = pb.LoginRequest(setupKey="11111111-1111-4111-8111-111111111111").SerializeToString()
        mine, elsewhere = ONE.public.text, Box(ONE, OTHER.public, os.urandom)
        enrolling = pb.LoginRequest(setupKey=server.setup_key(), meta=pb.PeerSystemMeta(hostname="one"))
        await stub.Login(pb.EncryptedMessage(wgPubKey=mine, body=box.seal(enrolling.SerializeToString())))
        wrong = {
            "for another server": pb.EncryptedMessage(wgPubKey=mine, body=elsewhere.seal(login)),
            "from another sender": pb.EncryptedMessage(wgPubKey=OTHER.public.text, body=box.seal(login)),
            "cut off": pb.EncryptedMessage(wgPubKey=mine, body=box.seal(login)[:-1]),
            "too short": pb.EncryptedMessage(wgPubKey=mine, body=b"x"),
            "empty": pb.EncryptedMessage(),
            "without a key": pb.EncryptedMessage(body=box.seal(login)),
            "of a key of low order": pb.EncryptedMessage(wgPubKey="A" * 43 + "=", body=box.seal(login)),
        }
        strangers = {"from another sender", "of a key of low order"}
        for call in (stub.Login, stub.SyncMeta, stub.Logout, lambda message: stub.Sync(message).read()):
            unknown = grpc.StatusCode.NOT_FOUND if call == stub.Logout else grpc.StatusCode.PERMISSION_DENIED
            wrong["nothing inside"] = pb.EncryptedMessage(wgPubKey=mine, body=box.seal(b"\xff\xff\xff"))  # counts once
            for what, message in wrong.items():
                code, said = await status_of(call(message))
                opened = call == stub.Login or what not in strangers
                assert code is (grpc.StatusCode.INVALID_ARGUMENT if opened else unknown), (what, said)
        raw = channel.unary_unary("/management.ManagementService/Login")
        assert (await status_of(raw(b"\xff" * 50)))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert (await status_of(raw(bytes(2 << 20))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        signals = SignalExchangeStub(channel)
        absent = signal_pb.EncryptedMessage(key=mine, remoteKey=OTHER.public.text, body=b"x")
        assert not (await signals.Send(absent)).body, "dropped without a word"
        stranger = signal_pb.EncryptedMessage(key=OTHER.public.text, remoteKey=mine, body=b"x")
        assert (await status_of(signals.Send(stranger)))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert "Traceback" not in server.said
    assert "ERROR" not in server.said


def key_of(answer):
    return ONE.public.parse(answer.key)


@pytest.mark.parametrize("which", ["port", "metrics", "stun"])
def test_a_taken_port_is_named_with_its_key(program, which):
    server = program()
    kind = socket.SOCK_DGRAM if which == "stun" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("0.0.0.0" if which == "stun" else "127.0.0.1", getattr(server, which)))
        if which != "stun":
            other.listen()
        code, said = server.refused()
    key = {"port": "listen", "metrics": "metrics", "stun": "stun_port"}[which]
    assert code != 0
    assert f"error: {key} = " in said
    assert str(getattr(server, which)) in said
    assert "in use" in said
    assert "Traceback" not in said


def without(*capabilities):
    """A prefix that takes them away from root."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to take rights away")
    return ("setpriv", "--bounding-set", ",".join(f"-{each}" for each in capabilities))


def test_a_folder_that_may_not_be_written_is_named(program, tmp_path):
    server = program(prefix=without("dac_override", "dac_read_search"))
    server.data.mkdir()
    os.chown(server.data, 12345, 12345)
    server.data.chmod(0o700)
    code, said = server.refused()
    assert (code, "Traceback" in said) == (2, False)
    assert f"data_dir = '{server.data}'" in said
    os.chown(server.data, 0, 0)


def test_a_port_that_may_not_be_had_is_named(program):
    server = program(prefix=without("net_bind_service"), port=81)
    code, said = server.refused()
    assert (code, "Traceback" in said) == (2, False)
    assert "listen = '127.0.0.1:81': cannot listen there: Permission denied" in said


def test_files_that_are_damaged_are_named_and_left_alone(program):
    server = program()
    server.data.mkdir()
    (server.data / "server.key").write_text("nonsense")
    code, said = server.refused()
    assert (code, "Traceback" in said) == (2, False)
    assert f"{server.data}/server.key holds no key" in said
    assert (server.data / "server.key").read_text() == "nonsense"
    (server.data / "server.key").unlink()
    (server.data / "meshloom.db").write_text("nonsense" * 200)
    code, said = server.refused()
    assert code == 1
    assert "meshloom.db: it is no SQLite database: move it aside and restore a backup" in said
    assert (server.data / "meshloom.db").read_text() == "nonsense" * 200


async def test_certificates_are_renewed_while_machines_are_connected(program, machine, certificate):
    file, key = certificate()
    first = file.read_bytes()
    context = ssl.create_default_context(cafile=file)
    server = program(scheme="https", context=context, flags=("--tls-certificate", file, "--tls-key", key))
    server.start().set_up()
    one = machine(server.url, first)
    await one.login(server.setup_key())
    with pytest.raises(ManagementUnreachable):
        await machine(server.url).login()
    updates = one.sync()
    assert (await anext(updates)).NetworkMap.peerConfig.address
    key.write_text("half a file")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the old certificate stays in use" in server.said, 5, "the bad one is refused")
    assert (await machine(server.url, first).client._exchange("Login")) is not None
    certificate()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "certificates read again" in server.said, 5, "the new one is read")
    new = machine(server.url, file.read_bytes())
    with pytest.raises(LoginDenied):
        await new.login()
    with pytest.raises(ManagementUnreachable):
        await machine(server.url, first).login()
    server.context = ssl.create_default_context(cafile=file)
    server.setup_key()
    await new.login(server.setup_key())
    assert (await anext(updates)).NetworkMap.remotePeers, "the stream of before goes on"
    await updates.aclose()
    assert server.stop() == 0


def test_nothing_to_read_again_is_no_reason_to_end(program):
    server = program().start()
    server.process.send_signal(signal.SIGHUP)
    assert server.is_ready()
    assert server.api("GET", "/api/instance")[0] == 200
    assert server.stop(signal.SIGINT) == 0


async def test_the_log_says_what_an_operator_cares_about_and_nothing_of_libraries(program, machine):
    server = program().start().set_up()
    await machine(server.url).login(server.setup_key())
    assert server.stop() == 0
    lines = server.said.splitlines()
    assert len(lines) < 15, server.said
    for name in ("uvicorn", "alembic", "GET /", "POST /"):
        assert not [line for line in lines if name in line and "make its owner" not in line], server.said
    assert any("listening on" in line for line in lines)


async def test_no_secret_is_in_the_log_or_the_store(program, machine):
    server = program(flags=("--log-level", "debug")).start().set_up()
    key = server.setup_key()
    one = machine(server.url)
    await one.login(key)
    user = server.api("GET", "/api/users/current")[1]["id"]
    _, made = server.api("POST", f"/api/users/{user}/tokens", {"name": "ci", "expires_in": 1})
    with pytest.raises(LoginDenied):
        await machine(server.url).login("11111111-2222-4333-8444-555555555555")
    token, server.token = server.token, "nbp_wrongwrongwrongwrongwrongwrongwrong"
    assert server.api("GET", "/api/groups")[0] == 401
    server.get(f"{server.url}/api/groups?token={token}")
    private = (server.data / "server.key").read_text().strip()
    with socket.create_connection(("127.0.0.1", server.port)) as broken:
        broken.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100))
        wait_until(lambda: " DEBUG " in server.said, 10, "what is told with debug alone is in the log")
    assert server.stop() == 0
    secrets = {
        "setup key": key,
        "set-up's token": token,
        "token": made["plain_token"],
        "server's key": private,
        "password": "correct horse battery staple 7",
        "wrong setup key": "11111111-2222-4333-8444-555555555555",
        "wrong token": "nbp_wrong",
    }
    stored = b"".join(file.read_bytes() for file in server.data.iterdir() if file.name != "server.key")
    dump = "\n".join(sqlite3.connect(server.data / "meshloom.db").iterdump())
    for what, secret in secrets.items():
        for text in {secret, secret.lower(), secret.upper()}:
            assert text not in server.said, what
            assert text.encode() not in stored, what
            assert text not in dump, what


def test_all_files_are_their_owners_alone(program):
    server = program().start().set_up()
    assert server.data.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in server.data.iterdir()}
    assert {"server.key", "meshloom.db"} <= set(modes)
    assert set(modes.values()) == {0o600}, modes
    assert server.stop() == 0
