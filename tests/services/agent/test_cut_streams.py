"""Connections that are cut are not another machine with this one's key: only what the server does or says counts."""

import grpc
import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom_agent import rivalry
from meshloom_agent.management_errors import TAKEN
from meshloom_agent.report import CONNECTED
from meshloom_agent.rivalry import WORDS
from meshloom_agent.sync import RIVAL

pytestmark = pytest.mark.anyio

CUTS = 7
UNAVAILABLE, ALREADY_EXISTS = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ALREADY_EXISTS


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waiting is not what is tested."""
    monkeypatch.setattr(rivalry, "FIRST", 0.01)


@pytest.fixture(params=["fresh", "management"], ids=["Meshloom's", "NetBird's"])
def kind(request):
    """Which server it is."""
    request.getfixturevalue(request.param)
    return request.param


@pytest.fixture
async def up(kind, joined, daemon, until):
    await until(lambda: daemon.report.state == CONNECTED)
    return daemon


async def ends(management, status):
    """Makes each stream end right after its first map; returns those that did."""
    ended = []

    async def sync(request, context):
        management.opened(request, pb.SyncRequest)
        yield management.sealed(request.wgPubKey, management.full(request.wgPubKey))
        ended.append(status)
        if status is not None:
            await context.abort(*status)

    await management.stop()
    management.Sync = sync
    await management.start()
    return ended


async def test_a_server_that_is_cut_off_again_and_again_is_no_other_machine(up, management, until, caplog):
    for _ in range(CUTS):
        await management.stop()
        await until(lambda: not up.report.management.connected)
        await management.start()
        await until(lambda: up.report.management.connected, 20)
    assert not up.report.refused.get(RIVAL)
    assert "private.key" not in caplog.text


@pytest.mark.parametrize(
    ("status", "told_by"),
    [
        ((UNAVAILABLE, "Socket closed"), ()),
        ((grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"), ()),
        ((ALREADY_EXISTS, "something else"), ()),
        ((ALREADY_EXISTS, f"{TAKEN} has taken the place of this one"), ("fresh", "management")),
        (None, ("management",)),
    ],
    ids=["lost", "reset", "other words", "replaced", "a clean end"],
)
async def test_an_end_is_told_of_only_where_the_server_replaces_this_machine(
    up, kind, management, until, *, status, told_by
):
    ended = await ends(management, status)
    await until(lambda: len(ended) > CUTS, 30)
    assert up.report.refused.get(RIVAL, ()) == ((WORDS,) if kind in told_by else ())
