"""The server's key is kept from the first answer on, and answers are no recordings."""

import os

import grpc
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.channel import ServerAddress, parse_url
from meshloom_agent.files import KnownServer, StateDir
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.management_errors import ManagementUnreachable, ServerKeyChanged
from meshloom_agent.server_identity import MOST_SERVERS, ServerKeys

pytestmark = pytest.mark.anyio

KEY = PrivateKey.of(b"k" * 32)
ONE, TWO = (PrivateKey.of(bytes([number]) * 32).public.text for number in (1, 2))
PLAIN, TLS = ServerAddress("192.0.2.1:80", tls=False), ServerAddress("mesh.example.net:443", tls=True)
META = pb.PeerSystemMeta()


@pytest.fixture
def files(tmp_path):
    return StateDir(tmp_path / "state")


@pytest.mark.parametrize(
    ("address", "known", "shown", "refused"),
    [
        (PLAIN, None, KnownServer(ONE), ""),
        (PLAIN, KnownServer(ONE), KnownServer(ONE), ""),
        (PLAIN, KnownServer(ONE), KnownServer(ONE, proves=True), ""),
        (PLAIN, KnownServer(ONE), KnownServer(TWO), "another key than before"),
        (PLAIN, KnownServer(ONE, proves=True), KnownServer(TWO, proves=True), "another key than before"),
        (PLAIN, KnownServer(ONE, proves=True), KnownServer(ONE), "no longer proves"),
        (TLS, KnownServer(ONE), KnownServer(TWO), ""),
        (TLS, KnownServer(ONE, proves=True), KnownServer(TWO), ""),
    ],
)
def test_which_keys_are_taken(files, address, known, shown, refused):
    keys = ServerKeys(files)
    if known is not None:
        keys.at(address).confirm(known)
    identity = keys.at(address)
    if refused:
        with pytest.raises(ServerKeyChanged, match=f"{refused}.*meshloom up --accept-server-key"):
            identity.check(shown)
        identity = keys.at(address, accept=True)
    identity.check(shown)
    identity.confirm(shown)
    assert ServerKeys(StateDir(files.path)).known(address.url) == shown, "after a restart, too"


def test_a_key_that_tls_proves_is_logged(files, caplog):
    keys = ServerKeys(files)
    keys.at(TLS).confirm(KnownServer(ONE))
    keys.at(TLS).confirm(KnownServer(TWO))
    assert "has another key than before (proven by its certificate)" in caplog.text


def test_keys_are_kept_for_each_url_and_for_not_too_many(files):
    keys = ServerKeys(files)
    for number in range(MOST_SERVERS + 5):
        keys.at(ServerAddress(f"192.0.2.1:{number}", tls=False)).confirm(KnownServer(ONE))
    assert len(files.servers()) == MOST_SERVERS
    assert "http://192.0.2.1:4" not in files.servers()


@pytest.fixture
async def client(management, files):
    """Of a machine that is known."""
    management.peers[KEY.public.text] = "100.64.0.1"
    address = parse_url(management.url)
    made = ManagementClient(address, KEY, b"", ServerKeys(files).at(address))
    yield made
    await made.close()


async def test_another_key_at_the_same_address_gets_no_message_of_ours(client, management):
    await client.login(META, b"")
    management.seal_with = management.key = PrivateKey.of(os.urandom(32))
    before = len(management.logins)
    for call in (client.login(META, b""), client.logout(), anext(client.sync(META))):
        with pytest.raises(ServerKeyChanged):
            await call
    assert len(management.logins) == before


async def test_a_key_that_opened_nothing_is_not_kept(client, management, files):
    management.seal_with = PrivateKey.of(os.urandom(32))
    with pytest.raises(ManagementUnreachable, match="cannot be read"):
        await client.login(META, b"")
    assert files.servers() == {}


async def test_requests_are_proven_and_answers_are_checked(client, management, fresh):
    await client.login(META, b"")
    updates = client.sync(META)
    await anext(updates)
    management.tell(KEY.public.text, management.full(KEY.public.text))
    await anext(updates)
    await updates.aclose()
    assert client.is_fresh
    assert [each.method for each in fresh.proofs] == ["Login", "Sync"]
    assert all(fresh.challenges.proves(each, each.method) for each in fresh.proofs)
    assert len({each.nonce for each in fresh.proofs}) == 2


@pytest.mark.parametrize("call", ["login", "sync"])
async def test_a_recorded_answer_is_refused(client, management, fresh, call):
    async def ask():
        return await (client.login(META, b"") if call == "login" else anext(client.sync(META)))

    await ask()
    fresh.replays = True
    with pytest.raises(ManagementUnreachable, match="does not belong to this request"):
        await ask()


async def test_a_recorded_map_within_the_stream_is_refused(client, management, fresh):
    updates = client.sync(META)
    await anext(updates)
    fresh.replays = True
    management.tell(KEY.public.text, management.full(KEY.public.text))
    with pytest.raises(ManagementUnreachable, match="number 0 of its stream, not 1"):
        await anext(updates)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message.ClearField("proof"),
        lambda message: setattr(message.proof, "method", "Logout"),
        lambda message: setattr(message.proof, "nonce", bytes(16)),
        lambda message: setattr(message.proof, "number", 1),
    ],
    ids=["none", "another method's", "another request's", "another place's"],
)
async def test_answers_without_a_good_proof_are_refused(client, management, fresh, spoil):
    fresh.spoil = spoil
    for call in (client.login(META, b""), anext(client.sync(META))):
        with pytest.raises(ManagementUnreachable):
            await call


async def test_who_proved_once_must_always(client, management, fresh):
    await client.login(META, b"")
    fresh.proves = False
    with pytest.raises(ServerKeyChanged, match="no longer proves"):
        await client.login(META, b"")


@pytest.mark.parametrize("times", [1, 2])
async def test_a_request_that_came_too_late_is_made_again_once(client, management, fresh, times):
    refusals, opened = [], management.opened

    def stale(request, kind):
        message = opened(request, kind)
        refusals.append(message.proof.nonce)
        if len(refusals) > times:
            management.refusal = None
        return message

    management.opened = stale
    management.refusal = grpc.StatusCode.ABORTED, "the request is not fresh: ask for the server's key again"
    if times == 2:
        with pytest.raises(ManagementUnreachable, match="not fresh"):
            await client.login(META, b"")
    else:
        await client.login(META, b"")
    assert len(set(refusals)) == len(refusals) == 2


async def test_a_server_that_knows_nothing_of_proofs_is_used_as_ever(client, management):
    await client.login(META, b"")
    assert not client.is_fresh
    assert not management.logins[-1].HasField("proof")
