"""A logout that counts: somebody in between cannot answer it in the name of a server that proves its answers."""

import grpc
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent.channel import parse_url
from meshloom_agent.files import KnownServer, StateDir
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.management_errors import ManagementUnreachable
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio

KEY = PrivateKey.of(b"a machine".ljust(32))
SETUP_KEY = "11111111-2222-3333-4444-555555555555"


async def says_done(_request, _context):
    return pb.Empty()


async def says_done_by_a_box_without_content(request, _context):
    return pb.Empty(answer=pb.EncryptedMessage(wgPubKey=request.wgPubKey))


async def sends_the_request_back(request, _context):
    return pb.Empty(answer=request)


async def says_that_there_is_no_such_peer(request, context):
    await context.abort(grpc.StatusCode.NOT_FOUND, f"peer not found: {request.wgPubKey}")


IMPOSTORS = [says_done, says_done_by_a_box_without_content, sends_the_request_back, says_that_there_is_no_such_peer]


@pytest.fixture
def instead(management):
    """Puts another answer to a logout in the place of management's."""

    async def put(answer):
        await management.stop()
        management.Logout = answer
        await management.start()

    return put


@pytest.fixture
async def client(management):
    made = ManagementClient(parse_url(management.url), KEY)
    management.peers[KEY.public.text] = "100.64.0.1"
    yield made
    await made.close()


async def test_a_server_that_proves_its_answers_proves_that_the_machine_is_gone(client, management, fresh):
    await client.logout()
    assert management.peers == {}
    await client.logout()


@pytest.mark.parametrize("impostor", IMPOSTORS)
async def test_a_logout_that_somebody_in_between_answers_is_not_done(client, fresh, instead, impostor):
    await instead(impostor)
    with pytest.raises(ManagementUnreachable):
        await client.logout()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message.ClearField("proof"),
        lambda message: setattr(message.proof, "method", "Login"),
        lambda message: setattr(message.proof, "nonce", bytes(16)),
        lambda message: setattr(message.proof, "number", 1),
    ],
    ids=["none", "another method's", "another request's", "another place's"],
)
async def test_a_logout_without_a_good_proof_is_not_done(client, fresh, spoil):
    fresh.spoil = spoil
    with pytest.raises(ManagementUnreachable):
        await client.logout()


@pytest.fixture
async def joined(daemon, management, fresh, settings, until):
    """An agent that is up in the mesh of a server that proves its answers."""
    await daemon.login(settings(0), SETUP_KEY)
    await daemon.up()
    await until(lambda: daemon.report.state == CONNECTED and daemon.files.last_map() is not None)
    assert daemon.files.servers()[management.url] == KnownServer(management.key.public.text, proves=True)
    return daemon


@pytest.mark.parametrize("impostor", IMPOSTORS)
async def test_such_an_answer_makes_the_agent_forget_nothing(joined, fresh, instead, impostor):
    await instead(impostor)
    with pytest.raises(ManagementUnreachable, match=r"nothing has changed here.*meshloom logout --local"):
        await joined.log_out()
    assert joined.files.last_map() is not None
    assert StateDir(joined.files.path).settings().up
    await instead(fresh.logout)
    await joined.log_out()
    assert joined.files.last_map() is None


@pytest.mark.parametrize("proves", [True, False])
async def test_whether_a_server_proves_is_not_for_somebody_in_between_to_say(
    client, management, fresh, instead, proves
):
    await client.login(pb.PeerSystemMeta(), b"")
    fresh.proves = proves
    await instead(says_done)
    with pytest.raises(ManagementUnreachable):
        await client.logout()
