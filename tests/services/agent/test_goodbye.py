"""What an agent says when it ends, and what those that it leaves show of it."""

import json
from datetime import UTC, datetime

import anyio
import pytest

from meshloom.model.keys import PrivateKey
from meshloom.rpc import management_pb2 as pb
from meshloom_agent import absence, management_client, signal_client
from meshloom_agent.absence import Absences
from meshloom_agent.channel import parse_url
from meshloom_agent.management_client import ManagementClient

pytestmark = pytest.mark.anyio

OTHER = PrivateKey.of(b"o" * 32).public
SOON = 2.0


async def reason_of(agent, other):
    await agent.engine.look()
    return next(each.path.reason for each in await agent.engine.peers() if each.key == other.key)


@pytest.fixture
async def pair(agents, until):
    one, other = agents(0), agents(1)
    await until(lambda: one.connected and other.connected)
    return one, other


async def test_a_peer_that_is_stopped_is_offline_within_two_seconds(pair, until):
    one, other = pair
    other.scope.cancel()
    await until(lambda: not one.connected, SOON)
    assert (await reason_of(one, other)).startswith("offline; last seen ")


async def test_the_status_of_the_command_line_says_so(joined, agents, daemon, meshloom, until):
    other = agents(1)
    await until(lambda: other.connected and daemon._engine._mesh.connected)
    other.scope.cancel()
    await until(lambda: not daemon._engine._mesh.connected, SOON)
    text = (await meshloom("status", "-d")).out
    assert "Reason: offline; last seen " in text
    assert "Peers count: 0/1 Connected, 1 offline" in text
    (peer,) = json.loads((await meshloom("status", "-j")).out)["peers"]["details"]
    assert datetime.fromisoformat(peer["lastSeen"]) <= datetime.now(UTC)


async def test_another_signal_server_is_no_goodbye(pair, management, signal, until):
    one, other = pair
    management.signal_target = signal.target.replace("127.0.0.1", "localhost")
    sent = len(signal.sent)
    management.everyone()
    await until(lambda: one.report.signal.connected and "localhost" in one.report.signal.url)
    await until(lambda: other.report.signal.connected and "localhost" in other.report.signal.url)
    assert one.connected
    assert other.connected
    assert len(signal.sent) >= sent


async def test_a_signal_server_that_hangs_keeps_nobody_from_ending(pair, until, monkeypatch):
    monkeypatch.setattr(signal_client, "LAST_WORDS_WITHIN", 0.05)
    _, other = pair
    begun, ended = [], anyio.Event()

    async def hang(message):
        begun.append(message)
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    monkeypatch.setattr(other.engine._signal, "send", hang)
    other.scope.cancel()
    with anyio.fail_after(5):
        await ended.wait()
    assert [message.goodbye is not None for message in begun] == [True]


@pytest.fixture
async def tells(management, fresh):
    """Makes management tell who is away; each question is noted."""
    await management.stop()
    told = {"away": [], "asked": 0}

    async def absent(request, _context):
        management.opened(request, pb.AbsenceRequest)
        told["asked"] += 1
        return management.sealed(request.wgPubKey, pb.AbsenceResponse(peers=told["away"]))

    management.Absent = absent
    await management.start()
    return told


async def test_management_tells_who_is_away_and_for_how_long(agents, management, tells, until):
    management.peers[OTHER.text] = "100.64.0.9"
    one = agents(0)
    await until(lambda: OTHER in one.engine._mesh.peers)
    tells["away"] = [pb.Absence(key=OTHER.raw, seconds=7200)]
    await one.engine.look()
    (peer,) = await one.engine.peers()
    assert peer.path.reason == "offline; last seen 2 h ago"
    assert peer.last_seen is not None


async def test_who_looks_often_asks_seldom(agents, management, tells, until):
    management.peers[OTHER.text] = "100.64.0.9"
    one = agents(0)
    await until(lambda: OTHER in one.engine._mesh.peers)
    for _ in range(10):
        await one.engine.look()
    assert tells["asked"] == 1


@pytest.mark.parametrize("seconds", [0, (1 << 64) - 1])
async def test_an_absence_without_end_has_a_date_all_the_same(agents, management, tells, until, seconds):
    management.peers[OTHER.text] = "100.64.0.9"
    one = agents(0)
    await until(lambda: OTHER in one.engine._mesh.peers)
    tells["away"] = [pb.Absence(key=OTHER.raw, seconds=seconds)]
    await one.engine.look()
    (peer,) = await one.engine.peers()
    assert peer.last_seen.year > 2000


async def test_who_is_not_in_the_map_is_not_taken_in(agents, management, tells, until):
    one = agents(0)
    await until(lambda: one.report.management.connected)
    management.peers[OTHER.text] = "100.64.0.9"
    management.everyone()
    await until(lambda: OTHER in one.engine._mesh.peers)
    tells["away"] = [pb.Absence(key=bytes([number]) * 32, seconds=1) for number in range(9)]
    await one.engine.look()
    assert one.engine._mesh._away == {}


class Asked:
    """A management client that does not answer, or says that nobody is away."""

    proves = True

    def __init__(self, error=None):
        self.error, self.asked = error, 0

    async def absent(self):
        self.asked += 1
        if self.error is None:
            await anyio.sleep_forever()
        raise self.error


async def test_one_who_looks_does_not_wait_for_a_management_that_hangs(monkeypatch):
    monkeypatch.setattr(absence, "LOOK_WITHIN", 0.05)
    absences = Absences(Asked(), lambda *_: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(absences.run)
        with anyio.fail_after(5):
            await absences.look(is_connected=True)
            await absences.look(is_connected=True)
        tasks.cancel_scope.cancel()


async def test_a_management_that_refuses_is_not_asked_at_each_look():
    client = Asked(management_client.ManagementUnreachable("no such method"))
    absences = Absences(client, lambda *_: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(absences.run)
        for _ in range(5):
            await absences.look(is_connected=True)
        tasks.cancel_scope.cancel()
    assert client.asked == 1


async def test_a_server_of_netbird_is_not_asked_and_a_goodbye_counts_for_two_minutes_there(pair):
    one, other = pair
    mesh, now = one.engine._mesh, anyio.current_time()
    mesh._away = {other.key: now - 200.0, OTHER: now - 5.0}
    await one.engine._absences.look(is_connected=True)
    assert list(mesh._away) == [OTHER]


async def test_a_list_of_what_are_no_keys_is_refused(management, tells, settings, tmp_path):
    client = ManagementClient(parse_url(management.url), PrivateKey.of(b"a" * 32))
    tells["away"] = [pb.Absence(key=b"short", seconds=1)]
    with pytest.raises(management_client.ManagementUnreachable, match="32 bytes"):
        await client.absent()
    await client.close()
