"""A management that sends signs of life and then none is away, whatever its connection says."""

import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom_agent import management_client
from meshloom_agent.report import CONNECTED

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("fresh")
async def test_a_stream_on_which_no_sign_of_life_comes_is_opened_again_and_the_log_says_why(
    agents, management, until, monkeypatch, caplog
):
    monkeypatch.setattr(management_client, "SILENT", 0.3)
    one = agents(0)
    await until(lambda: len(management.metas) >= 2)
    assert one.report.counters.lost["management"] >= 1
    assert "has sent no sign of life" in caplog.text
    await until(lambda: one.report.management.connected)


@pytest.mark.usefixtures("fresh")
async def test_signs_of_life_keep_a_stream_open(agents, management, until, monkeypatch):
    monkeypatch.setattr(management_client, "SILENT", 2.0)
    one = agents(0)
    await until(lambda: one.report.state == CONNECTED)
    key, heard = one.key.text, []
    take = one.engine._link._take
    one.engine._link._take = lambda update, begins: (heard.append(update), take(update, begins))
    for number in range(30):
        management.tell(key, pb.SyncResponse())
        await until(lambda number=number: len(heard) > number)
    assert len(management.metas) == 1
    assert one.report.counters.lost["management"] == 0


async def test_a_server_of_netbird_may_be_silent_for_as_long_as_it_likes(agents, management, until, monkeypatch):
    monkeypatch.setattr(management_client, "SILENT", 0.05)
    one, other = agents(0), agents(1)
    await until(lambda: one.report.state == other.report.state == CONNECTED)
    await until(lambda: one.connected and other.connected)
    assert len(management.metas) == 2
    assert one.report.counters.lost["management"] == 0
