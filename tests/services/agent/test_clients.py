"""The clients of management and signal against servers that do as they are told."""

import os

import anyio
import grpc
import pytest

from meshloom.errors import ConfigError
from meshloom.model.keys import PrivateKey
from meshloom.protocol.seal import Box
from meshloom.protocol.signal import SignalKind, SignalMessage
from meshloom.rpc import management_pb2 as pb
from meshloom.rpc import signalexchange_pb2 as signal_pb
from meshloom_agent.channel import ServerAddress, parse_url
from meshloom_agent.facts import system_meta
from meshloom_agent.files import new_ssh_key
from meshloom_agent.management_client import ManagementClient, canonical_setup_key
from meshloom_agent.management_errors import LoginDenied, ManagementRefuses, ManagementUnreachable
from meshloom_agent.signal_client import SignalClient

pytestmark = pytest.mark.anyio

SETUP_KEY = "11111111-2222-3333-4444-555555555555"
KEY = PrivateKey.of(b"k" * 32)


@pytest.fixture
async def client(management):
    made = ManagementClient(parse_url(management.url), KEY)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("url", "target", "tls"),
    [
        ("https://mesh.example.net", "mesh.example.net:443", True),
        ("http://192.0.2.1", "192.0.2.1:80", False),
        ("https://mesh.example.net:33073/ignored", "mesh.example.net:33073", True),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080", False),
    ],
)
def test_a_url_says_where_and_how(url, target, tls):
    assert parse_url(url) == ServerAddress(target, tls)


@pytest.mark.parametrize("url", ["mesh.example.net", "ftp://mesh.example.net", "https://", "http://h:99999", ""])
def test_what_is_no_url_is_named_in_the_error(url):
    with pytest.raises(ConfigError, match="--management-url"):
        parse_url(url)


@pytest.mark.parametrize("text", ["A1B2C3D4-0000-1111-2222-333344445555", " {a1b2c3d400001111-2222333344445555} "])
def test_a_setup_key_is_sent_in_lower_case(text):
    assert canonical_setup_key(text) == "a1b2c3d4-0000-1111-2222-333344445555"


def test_what_is_no_setup_key_is_refused_without_repeating_it():
    with pytest.raises(LoginDenied) as caught:
        canonical_setup_key("my-secret-but-wrong")
    assert "secret" not in str(caught.value)


def test_an_ssh_key_is_one_line_of_authorized_keys():
    kind, body = new_ssh_key().split(b" ")
    assert kind == b"ssh-ed25519"
    assert len(body) == 68
    assert body.startswith(b"AAAAC3NzaC1lZDI1NTE5AAAAI")


async def test_what_is_sent_is_what_servers_of_the_protocol_read(client, management):
    with pytest.raises(LoginDenied, match="no peer auth method"):
        await client.login(await system_meta("box", ipv6=True), b"ssh-ed25519 AAAA")
    answer = await client.login(await system_meta("box", ipv6=True), b"ssh-ed25519 AAAA", SETUP_KEY)
    assert answer.peerConfig.address == "100.64.0.1/16"
    login = management.logins[-1]
    assert login.setupKey == SETUP_KEY
    assert login.peerKeys.wgPubKey == KEY.public.text.encode(), "the text's bytes"
    assert login.peerKeys.sshPubKey == b"ssh-ed25519 AAAA"
    meta = login.meta
    assert (meta.hostname, meta.goOS, meta.kernel) == ("box", "linux", "Linux")
    assert list(meta.capabilities) == [1, 2]
    assert meta.syncMessageVersion == 0, "plain maps are all that we read"
    assert tuple(map(int, meta.netbirdVersion.split("."))) >= (0, 60), "servers decide by it what they send"


@pytest.mark.parametrize(
    ("code", "setup_key", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "", ManagementRefuses),
        (grpc.StatusCode.PERMISSION_DENIED, SETUP_KEY, LoginDenied),
        (grpc.StatusCode.NOT_FOUND, "", ManagementRefuses),
        (grpc.StatusCode.NOT_FOUND, SETUP_KEY, LoginDenied),
        (grpc.StatusCode.FAILED_PRECONDITION, SETUP_KEY, LoginDenied),
        (grpc.StatusCode.INTERNAL, SETUP_KEY, ManagementUnreachable),
        (grpc.StatusCode.UNAVAILABLE, "", ManagementUnreachable),
    ],
)
async def test_refusals_are_told_apart(client, management, code, setup_key, error):
    management.refusal = code, "because"
    with pytest.raises(error, match="because") as caught:
        await client.login(pb.PeerSystemMeta(), b"", setup_key)
    assert type(caught.value) is error


async def test_a_server_that_is_not_there_is_named(management, client):
    await management.stop()
    with pytest.raises(ManagementUnreachable, match=f"{management.url}: connection refused; does meshloom-server run"):
        await client.login(pb.PeerSystemMeta(), b"")


async def test_an_answer_sealed_by_another_is_not_read(client, management):
    management.seal_with = PrivateKey.of(os.urandom(32))
    with pytest.raises(ManagementUnreachable, match="cannot be read"):
        await client.login(pb.PeerSystemMeta(), b"", SETUP_KEY)


async def test_updates_come_in_order_until_the_stream_is_refused(client, management):
    management.peers[KEY.public.text] = "100.64.0.1"
    serials = []
    with pytest.raises(LoginDenied):
        async for update in client.sync(pb.PeerSystemMeta()):
            serials.append(update.NetworkMap.Serial)
            if len(serials) == 1:
                for serial in (5, 6, 7):
                    management.tell(KEY.public.text, management.map_of(KEY.public.text, [], serial=serial))
                management.tell(KEY.public.text, None)
    assert serials == [1, 5, 6, 7]


async def test_leaving_where_one_is_not_known_is_no_failure(client, management):
    management.peers[KEY.public.text] = "100.64.0.1"
    await client.logout()
    await client.logout()
    assert management.peers == {}


class Ear:
    """A signal client, running, and what it heard."""

    def __init__(self, target, key):
        self.key, self.heard, self.states = key, [], []
        self.client = SignalClient(ServerAddress(target, tls=False), key, self.heard.append, self._ready)

    def _ready(self, ready, _why):
        self.states.append(ready)

    @property
    def ready(self):
        return bool(self.states) and self.states[-1]


@pytest.fixture
async def ears(signal):
    async with anyio.create_task_group() as tasks:

        def make(letter):
            made = Ear(signal.target, PrivateKey.of(letter * 32))
            tasks.start_soon(made.client.run)
            return made

        yield make(b"a"), make(b"b")
        tasks.cancel_scope.cancel()


def candidate(to, number):
    return SignalMessage(SignalKind.CANDIDATE, to, candidate=str(number))


async def test_an_offer_is_sent_before_its_candidates(ears, signal, until):
    one, two = ears
    await until(lambda: one.ready and two.ready)
    for round in range(3):
        one.client.send_soon(SignalMessage(SignalKind.OFFER, two.key.public))
        for number in range(5):
            one.client.send_soon(candidate(two.key.public, f"{round}.{number}"))
    await until(lambda: len(two.heard) == 18)
    rounds = [two.heard[start : start + 6] for start in (0, 6, 12)]
    for number, messages in enumerate(rounds):
        assert messages[0].kind is SignalKind.OFFER
        assert {message.candidate for message in messages[1:]} == {f"{number}.{each}" for each in range(5)}
    assert all(message.other == one.key.public for message in two.heard)


async def test_what_does_not_open_is_dropped_and_the_stream_goes_on(ears, signal, until, caplog):
    one, two = ears
    await until(lambda: one.ready and two.ready)
    stranger = PrivateKey.of(b"s" * 32)
    sealed = Box(stranger, two.key.public, os.urandom)
    for key, body in (
        (one.key.public.text, b""),
        (one.key.public.text, b"x" * 100),
        ("no key", b"x" * 100),
        (one.key.public.text, sealed.seal(b"")),  # says it is one, but is not
        (stranger.public.text, sealed.seal(b"\xff" * 40)),
    ):
        signal.deliver(signal_pb.EncryptedMessage(key=key, remoteKey=two.key.public.text, body=body))
    one.client.send_soon(candidate(two.key.public, 1))
    await until(lambda: two.heard)
    assert [message.candidate for message in two.heard] == ["1"]
    assert caplog.text.count("dropped") == 5


async def test_the_stream_comes_back_by_itself(ears, signal, until):
    one, two = ears
    await until(lambda: one.ready and two.ready)
    await signal.stop()
    await until(lambda: not one.ready and not two.ready)
    one.client.send_soon(candidate(two.key.public, "lost"))
    await signal.start()
    await until(lambda: one.ready and two.ready, 20)
    one.client.send_soon(candidate(two.key.public, "new"))
    await until(lambda: "new" in [message.candidate for message in two.heard])


async def test_a_stream_without_the_registration_header_is_not_used(signal, until):
    signal.registers = False
    async with anyio.create_task_group() as tasks:
        ear = Ear(signal.target, KEY)
        tasks.start_soon(ear.client.run)
        await until(lambda: ear.states)
        assert ear.states == [False]
        signal.registers = True
        await until(lambda: ear.ready)
        tasks.cancel_scope.cancel()


async def test_a_proxy_may_keep_the_head_of_the_stream_back(signal, until):
    signal.keeps_heads_back = True
    async with anyio.create_task_group() as tasks:
        ear = Ear(signal.target, KEY)
        tasks.start_soon(ear.client.run)
        await until(lambda: ear.ready)
        assert {(message.key, message.remoteKey) for message in signal.sent} == {(KEY.public.text,) * 2}
        tasks.cancel_scope.cancel()


async def test_a_silent_stream_is_tried_with_a_message_to_oneself(signal, until, monkeypatch):
    monkeypatch.setattr("meshloom_agent.signal_client.SILENCE", 0.05)
    monkeypatch.setattr("meshloom_agent.signal_client.ANSWER_WITHIN", 0.05)
    async with anyio.create_task_group() as tasks:
        ear = Ear(signal.target, KEY)
        tasks.start_soon(ear.client.run)
        await until(lambda: len(signal.sent) > 3)
        assert {(message.key, message.remoteKey) for message in signal.sent} == {(KEY.public.text,) * 2}
        assert False not in ear.states, "its own message came back"
        signal.deliver = lambda message: None
        await until(lambda: False in ear.states)
        tasks.cancel_scope.cancel()
